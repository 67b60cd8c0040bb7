"""The tables and annotations of the public data sets, of a kind that the first byte chooses."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from fuzz.harness import Harness

from neurips16.training.data.detection.reader import read_detection_set
from neurips16.training.data.esc50.reader import read_sound_set
from neurips16.training.data.mnist.reader import read_idx
from neurips16.training.errors import DataError

VOC_SPLIT = "val"


def _voc(path: Path) -> object:
    (path.parents[1] / "ImageSets/Main").mkdir(parents=True)
    (path.parents[1] / f"ImageSets/Main/{VOC_SPLIT}.txt").write_text(path.stem)
    return read_detection_set(path.parents[1], VOC_SPLIT)


KINDS: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("images-idx3-ubyte", read_idx),
    ("images-idx3-ubyte.gz", read_idx),
    ("meta/esc50.csv", lambda path: read_sound_set(path.parents[1])),
    ("Annotations/picture.xml", _voc),
    ("annotations/instances_val.json", lambda path: read_detection_set(path.parents[1], "val")),
)


def read(data: bytes, folder: Path) -> object:
    """As the reader of each layout does."""
    name, reader = KINDS[data[0] % len(KINDS) if data else 0]
    root = folder / "set"
    shutil.rmtree(root, ignore_errors=True)
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data[1:])
    return reader(path)


def seeds() -> list[bytes]:
    """One of each kind, good but for the pictures and sounds, which are not there."""
    idx = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (1, 2, 2)) + bytes(4)
    esc50 = b"filename,fold,target,category,esc10,src_file,take\na.wav,1,0,dog,True,1,A\n"
    voc = b"<annotation><object><name>a</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    voc += b"</object></annotation>"
    coco = {
        "categories": [{"id": 1, "name": "a"}],
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}],
    }
    laughs = b'<!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>'
    contents = (idx, gzip.compress(idx), esc50, voc, json.dumps(coco).encode())
    good = [bytes([kind]) + content for kind, content in enumerate(contents)]
    return [*good, b"\2filename,fold,target,category\na.wav\n", b"\3" + laughs, b"\4[]", b"\4" + b"[" * 9000, b""]


HARNESS = Harness(read, (DataError,), seeds)
