"""What image networks say about a video's frames: the teachers of SoundNet, run once and kept as Parquet.

A teacher is an ONNX file that takes one batch of pictures and gives one batch of distributions: either FP32
[N, 3, 224, 224], normalised as ImageNet's networks are, or UINT8 [N, H, W, 3], which it prepares itself.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from neurips16.training.data.pictures import open_picture
from neurips16.training.data.sound_pairs.reader import PROBABILITIES, SUM_TOLERANCE
from neurips16.training.errors import DataError

FRAMES = "frames.csv"
SIDE = 224  # pixels; the shorter side is first scaled to 256, as VGG's authors tested
SHORTER = 256
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet's red, green and blue
STD = np.array([0.229, 0.224, 0.225], np.float32)
ROWS_PER_BATCH = 32


def write_probabilities(folder: str | Path, object_teacher: str | Path, scene_teacher: str | Path) -> Path:
    """Run both teachers on every frame of ``frames.csv`` and write ``probabilities.parquet``, whole or not at all.

    Returns:
        The file.

    Raises:
        DataError: a file is missing or is not what it should be, or a teacher does not give distributions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    rows = _frames(folder)
    teachers = {"objects": _teacher(object_teacher), "scenes": _teacher(scene_teacher)}
    path = folder / PROBABILITIES
    partial = path.with_name(f".{path.name}.partial")
    writer = None
    try:
        for start in range(0, len(rows), ROWS_PER_BATCH):
            batch = rows[start : start + ROWS_PER_BATCH]
            pictures = np.stack([_picture(folder / row["frame"]) for row in batch])
            columns = {name: pa.array(list(teacher(pictures))) for name, teacher in teachers.items()}
            table = pa.table(
                {
                    "audio": [row["audio"] for row in batch],
                    "segment": [int(row["segment"]) for row in batch],
                    **columns,
                }
            )
            writer = writer or pq.ParquetWriter(partial, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    partial.replace(path)
    return path


def _frames(folder: Path) -> list[dict[str, str]]:
    path = folder / FRAMES
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not rows or not {"audio", "segment", "frame"} <= set(rows[0]) or not all(r["segment"].isdecimal() for r in rows):
        raise DataError(f"{path} is not a table with the columns audio, segment (0, 1, …) and frame")
    return rows


def _picture(path: Path) -> np.ndarray:
    """The middle of a picture, uint8 [224, 224, 3]."""
    from PIL import Image

    image = open_picture(path)
    scale = SHORTER / min(image.size)
    width, height = (max(SIDE, round(side * scale)) for side in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))[top : top + SIDE, left : left + SIDE]


def _teacher(path: str | Path) -> Callable[[np.ndarray], Iterator[np.ndarray]]:
    """A function from pictures uint8 [N, 224, 224, 3] to distributions float32 [N][classes]."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
    import onnxruntime

    if not Path(path).is_file():
        raise DataError(f"the teacher {path} is not there")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in ("tensor(float)", "tensor(uint8)"):
        taken = ", ".join(f"{value.name} {value.type}" for value in inputs)
        raise DataError(f"the teacher {path} takes {taken}; expected one batch of pictures, FP32 or UINT8")

    def run(pictures: np.ndarray) -> Iterator[np.ndarray]:
        feed = pictures
        if inputs[0].type == "tensor(float)":
            feed = ((pictures.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
        answer = session.run(None, {inputs[0].name: np.ascontiguousarray(feed)})[0].astype(np.float32)
        answer = answer.reshape(len(pictures), -1)
        if not (answer.min() >= 0 and np.abs(answer.sum(axis=1) - 1).max() <= SUM_TOLERANCE):
            raise DataError(f"the teacher {path} gives no distributions: end it with a softmax")
        return iter(answer)

    return run
