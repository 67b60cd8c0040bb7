"""Pictures in files: reading one, laying several out as a grid, and writing PNG or animated GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neurips16.clients.media.image_reading import read_image
from neurips16.clients.protocol.errors import InvalidInputError

GAP = 2  # pixels between two pictures of a grid, before it is enlarged
BACKGROUND = 96
FRAME_MS = 120
LAST_FRAME_MS = 1500


def read_picture(path: str | Path | bytes, channels: int = 1) -> np.ndarray:
    """A picture, a file or its bytes, as uint8 [H, W, channels]; 1 channel is grey, 3 are red, green and blue.

    Raises:
        InvalidImageError: see `neurips16.clients.media.image_reading.read_image`.
    """
    array = read_image(path)
    return np.asarray(Image.fromarray(array).convert("L"))[:, :, None] if channels == 1 else array


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Images uint8 [N, H, W, C], row by row, as one uint8 [H', W', C] with gaps between them."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), BACKGROUND, np.uint8)
    for i, image in enumerate(images):
        top, left = GAP + (i // columns) * (height + GAP), GAP + (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def write_picture(path: str | Path, image: np.ndarray, *, scale: int = 1) -> None:
    """Write uint8 [H, W, C], enlarged ``scale`` times without smoothing; the file's name says the format.

    Raises:
        InvalidInputError: the file cannot be written, or its name says no format.
    """
    _save(path, [image], scale)


def write_animation(path: str | Path, frames: Sequence[np.ndarray], *, scale: int = 1) -> None:
    """Write frames uint8 [H, W, C] as an animated GIF that goes on for ever and rests at its end.

    Raises:
        InvalidInputError: as `write_picture`.
    """
    _save(path, frames, scale, **_moving(frames))


def animated(frames: Sequence[np.ndarray], *, scale: int = 1) -> bytes:
    """The same as the bytes of a GIF."""
    first, *others = (enlarged(frame, scale) for frame in frames)
    file = io.BytesIO()
    first.save(file, "GIF", append_images=others, **_moving(frames))
    return file.getvalue()


def _moving(frames: Sequence[np.ndarray]) -> dict[str, Any]:
    return {"save_all": True, "loop": 0, "duration": [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]}


def _save(path: str | Path, images: Sequence[np.ndarray], scale: int, **options: Any) -> None:
    first, *others = (enlarged(image, scale) for image in images)
    if "save_all" in options:
        options["append_images"] = others
    try:
        first.save(path, **options)
    except (OSError, ValueError) as error:  # ValueError: no format has that ending
        raise InvalidInputError(f"{path} cannot be written: {error}; name a .png or a .gif file") from error


def enlarged(image: np.ndarray, scale: int) -> Image.Image:
    """uint8 [H, W, C] as a picture, ``scale`` times as large, without smoothing."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
