"""A picture, in each of the formats that are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from fuzz.harness import Harness
from PIL import Image

from neurips16.clients.media.image_reading import FORMATS, read_image
from neurips16.clients.media.picture_grid import read_picture
from neurips16.clients.protocol.errors import ClientError


def read(data: bytes, folder: Path) -> object:
    """As the clients that find and that draw do."""
    try:
        return read_image(data)
    finally:
        read_picture(data)


def seeds() -> list[bytes]:
    """One of each format and mode; one that claims far more pixels than it has."""
    pixels = np.arange(8 * 8 * 4, dtype=np.uint8).reshape(8, 8, 4)
    made = []
    Image.init()
    kinds = [kind for kind in FORMATS if kind in Image.SAVE]  # HEIF wants a plugin, AVIF a build that has it
    for kind in kinds:
        buffer = io.BytesIO()
        Image.fromarray(pixels[..., :3]).save(buffer, format=kind)
        made.append(buffer.getvalue())
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        buffer = io.BytesIO()
        deep = mode == "I;16"
        image = Image.fromarray(pixels[..., 0].astype(np.uint16)) if deep else Image.fromarray(pixels).convert(mode)
        image.save(buffer, format="PNG")
        made.append(buffer.getvalue())
    png = made[kinds.index("PNG")]
    return [*made, png[:16] + b"\0\1\0\0\0\1\0\0" + png[24:], b""]


HARNESS = Harness(read, (ClientError,), seeds)
