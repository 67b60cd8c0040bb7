"""What tests of several rooms share: where the real data are, and a small premise-selection set of our own."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("NEURIPS16_DATA", ROOT.parent / "shared/data"))


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages that tests in Node need, as `deploy/setup.sh` installs them from their lock."""
    folder = ROOT / "tests/node/node_modules"
    if shutil.which("node") is None or not folder.is_dir():
        pytest.skip("needs node, and `npm ci --ignore-scripts` in tests/node")
    return folder


@pytest.fixture(scope="session")
def real_deepmath() -> Path:
    """The real Mizar40 data set."""
    folder = REAL_DATA / "premises/deepmath"
    if not folder.is_dir():
        pytest.skip(f"the real data set is not at {folder} (NEURIPS16_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def deepmath_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up set in the public layout: 60 statements over eight symbols, 40 of them conjectures.

    A premise is useful exactly if it speaks of the conjecture's symbol, so a model can learn it.
    """
    folder = tmp_path_factory.mktemp("deepmath")
    rng = random.Random(0)
    symbols = [f"k{i}_art" for i in range(8)]
    statements, about = [], []
    for i in range(60):
        symbol = symbols[i % 8]
        body = " & ".join(f"r{rng.randrange(3)}_art({symbol}, X{j})" for j in range(1 + i % 3))
        statements.append(f"fof(t{i}_art, axiom,  (! [X0, X1, X2] : ({body}) ) ).")
        about.append(symbol)
    (folder / "mizar40").mkdir()
    (folder / "mizar40/statements").write_text("\n".join(statements) + "\n")
    (folder / "nndata").mkdir()
    for i in range(20, 60):
        lines = [f"C {statements[i]}"]
        lines += [f"{'+' if about[j] == about[i] else '-'} {statements[j]}" for j in rng.sample(range(i), 12)]
        if not any(line[0] == "+" for line in lines):
            lines.append(f"+ {statements[i - 8]}")
        (folder / f"nndata/t{i}_art").write_text("\n".join(lines) + "\n")
    (folder / "definitions.tsv").write_text(
        "symbol\tdefinition\trule\ttype\tother\nk0_art\tt0_art\tpattern\t\t\nk9_art\t\t\t\t\n"
    )
    return folder


@pytest.fixture(scope="session")
def real_mnist() -> Path:
    """The real MNIST."""
    folder = REAL_DATA / "mnist"
    if not folder.is_dir():
        pytest.skip(f"the real data set is not at {folder} (NEURIPS16_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def mnist_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up set in MNIST's layout, of 12 by 12 images in four classes: a bright bar at one of four places."""
    folder = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 120), ("t10k", 40)):
        labels = np.arange(count, dtype=np.uint8) % 4
        images = rng.integers(0, 60, (count, 12, 12), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[3 * label : 3 * label + 3, rng.integers(4) : 8 + rng.integers(4)] = 255
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return folder


@pytest.fixture(scope="session")
def real_bccd() -> Path:
    """The real blood cells, BCCD."""
    folder = REAL_DATA / "detection/BCCD"
    if not folder.is_dir():
        pytest.skip(f"the real data set is not at {folder} (NEURIPS16_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def detection_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up set in PASCAL VOC's layout: 20 pictures of two sizes with red discs and blue squares on pale ground."""
    from PIL import Image, ImageDraw

    folder = tmp_path_factory.mktemp("voc")
    for part in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (folder / part).mkdir(parents=True)
    rng = random.Random(0)
    names = [f"p{i}" for i in range(20)]
    for i, name in enumerate(names):
        width, height = (96, 64) if i % 3 else (64, 96)
        image = Image.new("RGB", (width, height), "#e6e0d8")
        objects = []
        for x, y in rng.sample([(0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)], 1 + i % 3):
            size = rng.randrange(18, 30)
            x0, y0 = x + rng.randrange(1, 32 - size + 1), y + rng.randrange(1, 32 - size + 1)
            label = rng.choice(["disc", "square"])
            draw = ImageDraw.Draw(image)
            shape, colour = (draw.ellipse, (200, 30, 30)) if label == "disc" else (draw.rectangle, (30, 30, 200))
            shape((x0, y0, x0 + size - 1, y0 + size - 1), fill=colour)
            corners = zip(("xmin", "ymin", "xmax", "ymax"), (x0 + 1, y0 + 1, x0 + size, y0 + size), strict=True)
            box = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
            objects.append(f"<object><name>{label}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>")
        image.save(folder / f"JPEGImages/{name}.jpg", quality=95)
        (folder / f"Annotations/{name}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
    for split, chosen in (("train", names[:12]), ("trainval", names[:16]), ("test", names[16:])):
        (folder / f"ImageSets/Main/{split}.txt").write_text("\n".join(chosen) + "\n")
    return folder


@pytest.fixture(scope="session")
def real_sounds() -> Path:
    """The real ESC-10, in ESC-50's layout."""
    folder = REAL_DATA / "sound/esc10"
    if not folder.is_dir():
        pytest.skip(f"the real data set is not at {folder} (NEURIPS16_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up set in ESC-50's layout: three folds of two low tones, two trains of clicks and two noises, of 2 s."""
    import numpy as np
    import soundfile

    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    time = np.arange(2 * 22_050) / 22_050
    rows = []
    (folder / "audio").mkdir()
    (folder / "meta").mkdir()
    for fold in (1, 2, 3):
        for take in (0, 1):
            sounds = {
                (12, "clicks"): np.where(np.arange(len(time)) % rng.integers(3000, 6000) < 50, 0.7, 0.0),
                (41, "noise"): rng.normal(0, rng.uniform(0.05, 0.2), len(time)),
                (3, "low_tone"): 0.4 * np.sin(2 * np.pi * rng.uniform(90, 200) * time),
            }
            for (target, category), sound in sounds.items():
                name = f"{fold}-{take}-A-{target}.wav"
                soundfile.write(folder / "audio" / name, sound, 22_050)
                rows.append(f"{name},{fold},{target},{category},True,{take},A")
    lines = ["filename,fold,target,category,esc10,src_file,take", *rows]
    (folder / "meta/esc50.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def sound_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight tones of 20 s with a click, every other one high, and teachers who name the pitch in each of 4 segments."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import soundfile

    folder = tmp_path_factory.mktemp("pairs")
    (folder / "audio").mkdir()
    time = np.arange(20 * 22_050) / 22_050
    rows = []
    for i in range(8):
        tone = 0.2 * np.sin(2 * np.pi * (150, 1800)[i % 2] * (1 + 0.02 * i) * time)
        tone[12 * 22_050] = 0.9
        soundfile.write(folder / f"audio/tone{i}.flac", tone, 22_050)
        sure = [0.05, 0.05, 0.05]
        sure[i % 2] = 0.9
        for segment in range(4):
            scenes = [0.1, 0.9] if i % 2 else [0.9, 0.1]
            row = {"audio": f"audio/tone{i}.flac", "segment": segment, "objects": [p / sum(sure) for p in sure]}
            rows.append({**row, "scenes": scenes})
    pq.write_table(pa.Table.from_pylist(rows[::-1]), folder / "probabilities.parquet")  # in any order
    return folder
