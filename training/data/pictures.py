"""Picture files as training reads them: RGB, of formats that are pictures and nothing else, within a bound.

A picture is what the clients show a model: upright, 16 bits scaled to 8, laid on white where it is transparent. The
cases that both packages are held to stand in ``tests/picture_cases.py``.
"""

from __future__ import annotations

import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from neurips16.training.errors import DataError

# Of Pillow's forty, one is a program (EPS, which it hands to Ghostscript), and many are old and little tried.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000  # 700 MB while one is decoded
_ORIENTATION = 0x0112  # of EXIF
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # EXIF's types in which an orientation can stand
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(path: str | Path) -> Image.Image:
    """A picture, decoded, upright, in RGB.

    Raises:
        DataError: it cannot be read, is of another format, has several frames or values of an unknown range, or has
            too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a bound below ours, and of metadata, which is passed over
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{path} has {image.width} x {image.height} pixels, at most {MAX_PIXELS} are read")
                # A camera's MPO holds previews behind the picture; several frames of any other kind are a question.
                if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
                    raise DataError(f"{path} has {frames} frames: save the one that is meant as a picture")
                turn = _TURNS.get(_orientation(image))
                picture = _rgb(image, path)
                return picture if turn is None else picture.transpose(turn)
    except (DataError, MemoryError):
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, Exception) as error:  # Pillow raises anything
        raise DataError(f"{path} cannot be read as a picture: {error}") from error


def _orientation(image: Any) -> int:
    """EXIF's, 1 to 8. Pillow would read all of EXIF for that, and fail where any of it is not as it should be."""
    if image.format == "TIFF":  # Pillow turns it itself when it decodes
        return 1
    exif = image.info.get("exif")
    if exif is None and (text := image.info.get("Raw profile type exif")) is not None:  # as ImageMagick writes PNG
        try:
            exif = bytes.fromhex("".join(str(text).split("\n")[3:]))
        except ValueError:
            exif = b""
    if isinstance(exif, bytes) and (found := _exif_orientation(exif.removeprefix(b"Exif\0\0"))):
        return found
    for name in ("xmp", "XML:com.adobe.xmp"):
        xmp = image.info.get(name, b"")
        if match := _XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp):
            return int(match[1])
    return 1


def _exif_orientation(exif: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (place,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, place)
        for entry in range(place + 2, place + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _ORIENTATION and kind in _NUMBERS:
                (value,) = struct.unpack_from(order + _NUMBERS[kind], exif, entry + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:  # cut off
        return None
    return None


def _rgb(image: Image.Image, path: str | Path) -> Image.Image:
    if image.mode == "F":
        raise DataError(f"{path} has floating-point values, whose range is not known: save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{path} has values from {values.min()} to {values.max()}, expected at most 16 bits")
        grey = (values // 257).astype(np.uint8)
        if isinstance(clear := image.info.get("transparency"), int):
            grey[values == clear] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # it is only where it works in place
        return converted
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        upper = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper)
    return image.convert("RGB")
