"""MNIST in its public layout: IDX files of images and labels, as they are or compressed with gzip.

    train-images-idx3-ubyte(.gz)    train-labels-idx1-ubyte(.gz)
    t10k-images-idx3-ubyte(.gz)     t10k-labels-idx1-ubyte(.gz)

IDX counts its axes itself, so another set of labelled images is read as well when its files are called so: images of
[N, H, W] are grey, those of [N, H, W, C] have channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurips16.training.data.decompression import read_file
from neurips16.training.errors import DataError

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_UNSIGNED_BYTE = 8  # the third byte of an IDX file: the type of its values


@dataclass(frozen=True)
class LabelledImages:
    """One split."""

    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int64 [N]

    def __len__(self) -> int:
        return len(self.images)


def read_idx(path: str | Path) -> np.ndarray:
    """The uint8 array of an IDX file; a name that ends in .gz is decompressed.

    Raises:
        DataError: the file cannot be read, or is no IDX file of unsigned bytes.
    """
    path = Path(path)
    content = read_file(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path} is no IDX file of unsigned bytes: it starts with {content[:4].hex(' ') or 'nothing'}")
    head = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4))
    if len(content) != head + math.prod(shape):
        raise DataError(f"{path} promises {shape} and holds {len(content) - head} bytes: it was cut off or is damaged")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def read_mnist(folder: str | Path, split: str) -> LabelledImages:
    """The images and labels of a split, "train" or "test".

    Raises:
        DataError: a file is missing or damaged, or images and labels are not of the same number.
    """
    if split not in FILES:
        raise DataError(f"there is no split {split!r}; there are: {', '.join(FILES)}")
    images, labels = (read_idx(_find(Path(folder), name)) for name in FILES[split])
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise DataError(f"{folder}: {split} has images {images.shape} and labels {labels.shape}, which do not fit")
    return LabelledImages(images, labels.astype(np.int64))


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(f"{folder} has neither {name}.gz nor {name}: name the folder that holds the four IDX files")
