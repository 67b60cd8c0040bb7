"""Images as the models read them: eight bits, RGB, upright, whatever the file is like."""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from neurips16.clients.media.limits import IMAGE_VARIABLE, max_image_bytes
from neurips16.clients.protocol.errors import InvalidImageError

if TYPE_CHECKING:
    from PIL.Image import Image

ImageSource = Union[str, "os.PathLike[str]", bytes, np.ndarray, "Image"]

BITS_16 = 257  # 65535 / 255
# Pillow knows some forty. Of those that nobody sends, one is a program (EPS, which it hands to Ghostscript), and the
# readers of the others are old and little tried.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
STRIP_PIXELS = 1 << 20  # that are converted at a time
_RGB_BYTES = 3
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "PA": 4, "LA": 4, "La": 4, **dict.fromkeys(_16_BIT_MODES, 2)}  # others: 4
# What a decoder holds of each pixel beside Pillow's own: the coefficients of a JPEG in several scans, the planes of a
# JPEG 2000 in 32 bits, the canvases of an animation format, the whole of a TIFF that is one strip.
_DECODER_BYTES = {"JPEG": 6, "MPO": 6, "JPEG2000": 32, "WEBP": 12, "TIFF": 4, "GIF": 1, "AVIF": 12, "HEIF": 12}
_ORIENTATION = 0x0112  # EXIF: how the stored rows have to be turned
_EXIF_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # types of EXIF in which a small number can stand
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
}


def read_image(source: ImageSource, *, max_bytes: int | None = None) -> np.ndarray:
    """An image as uint8 [H, W, 3] in RGB.

    Of a file, or its bytes: turned as its EXIF orientation says, 16 bits scaled to 8, CMYK and palettes converted,
    what is transparent laid on white. An array is uint8 [H, W, 3], [H, W, 4] (with opacity) or [H, W].

    Args:
        source: a file, its bytes, an array or an image of Pillow's.
        max_bytes: of memory that decoding a file may take; see `neurips16.clients.media.limits`.

    Raises:
        InvalidImageError: it cannot be read, is cut off, has several frames, would take more memory or has more pixels
            than Pillow takes for harmless (178 million), or is an array of another kind.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the image")
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
    name = file if isinstance(file, str) else "the image"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of half of its bound of pixels, and of metadata, which is passed over
            with Image.open(file, formats=_readable()) as opened:
                # A camera's MPO holds previews behind the picture; several frames of any other kind are a question.
                frames = getattr(opened, "n_frames", 1)
                if frames > 1 and opened.format != "MPO":
                    raise InvalidImageError(f"{name} has {frames} frames: save the one that you mean as an image")
                _check_memory(opened, name, max_image_bytes(max_bytes))
                return _to_rgb(opened, name, _orientation(opened))
    except (InvalidImageError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InvalidImageError(f"{name} does not exist") from error
    except UnidentifiedImageError as error:
        raise InvalidImageError(f"{name} is no image of a known format") from error
    except Image.DecompressionBombError as error:
        raise InvalidImageError(f"{name} has too many pixels ({error}): make it smaller, or cut it up") from error
    except Exception as error:  # where a file is damaged Pillow raises anything, struct.error and TypeError as well
        raise InvalidImageError(f"{name} cannot be read as an image: {error}") from error


def _readable() -> list[str]:
    """Those of `FORMATS` that this Pillow reads: AVIF depends on its build, HEIF on the plugin pillow-heif."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_memory(image: Any, name: str, limit: int) -> None:
    """See that an image, of which the header is read, can be decoded within so much memory."""
    held = _PIXEL_BYTES.get(image.mode, 4) + _RGB_BYTES
    several_scans = image.format not in ("JPEG", "MPO") or image.info.get("progressive")
    extra = _DECODER_BYTES.get(image.format or "", 0) if several_scans else 0
    needed = image.width * image.height * (held + extra)
    if needed > limit:
        raise InvalidImageError(
            f"{name} has too many pixels ({image.width} x {image.height}): to decode it takes {needed >> 20} MiB of "
            f"memory, the limit is {limit >> 20} MiB; make it smaller, cut it up, or set {IMAGE_VARIABLE}"
        )


def _orientation(image: Any) -> int:
    """How the stored rows have to be turned, 1 to 8.

    Pillow reads all of EXIF for that, and fails where any of it is not as it should be.
    """
    if image.format == "TIFF":  # Pillow turns it itself when it decodes
        return 1
    exif = image.info.get("exif")
    if exif is None and (text := image.info.get("Raw profile type exif")) is not None:  # as ImageMagick writes PNG
        exif = _unhexed(text)
    if isinstance(exif, bytes) and (found := _exif_orientation(exif.removeprefix(b"Exif\0\0"))):
        return found
    for name in ("xmp", "XML:com.adobe.xmp"):
        xmp = image.info.get(name, b"")
        if match := _XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp):
            return int(match[1])
    return 1


def _exif_orientation(exif: bytes) -> int | None:
    """The orientation in the first directory, None where there is none that makes sense."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (place,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, place)
        for entry in range(place + 2, place + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _ORIENTATION and kind in _EXIF_NUMBERS:
                (value,) = struct.unpack_from(order + _EXIF_NUMBERS[kind], exif, entry + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:  # cut off
        return None
    return None


def _unhexed(text: Any) -> bytes:
    """ImageMagick's profile: a name and a length, each on a line, and hexadecimal digits."""
    try:
        return bytes.fromhex("".join(str(text).split("\n")[3:]))
    except ValueError:
        return b""


def _to_rgb(image: Any, name: str, orientation: int = 1) -> np.ndarray:
    """Converted a strip at a time, so that there is but one copy of the whole beside what Pillow decoded."""
    if image.mode == "F":
        raise InvalidImageError(
            f"{name} has floating-point values, whose range is not known: save it with 8 or 16 bits"
        )
    turn = _TURNS.get(orientation, lambda a: a)
    lying = orientation in (5, 6, 7, 8)
    whole = np.empty((image.width, image.height, 3) if lying else (image.height, image.width, 3), np.uint8)
    rows = turn(whole)  # the same memory, as the file's rows lie in it
    for top, bottom in _strips(image.height, image.width):
        rows[top:bottom] = _strip_to_rgb(image.crop((0, top, image.width, bottom)), name)
    return whole


def _strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, STRIP_PIXELS // width)
    return ((top, min(top + step, height)) for top in range(0, height, step))


def _strip_to_rgb(image: Any, name: str) -> np.ndarray:
    from PIL import Image, ImageCms

    if image.mode in _16_BIT_MODES or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InvalidImageError(
                f"{name} has values from {values.min()} to {values.max()}, expected at most 16 bits"
            )
        grey = (values // BITS_16).astype(np.uint8)
        if isinstance(clear := image.info.get("transparency"), int):
            grey[values == clear] = 255
        return _of_array(grey)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB"))
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        upper = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper)
    return np.asarray(image.convert("RGB"))


def _of_array(array: np.ndarray) -> np.ndarray:
    known = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not known or array.dtype != np.uint8 or 0 in array.shape:
        raise InvalidImageError(
            f"an image is an array uint8 [H, W, 3], [H, W, 4] or [H, W] of at least one pixel, "
            f"got {array.dtype} {list(array.shape)}"
        )
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    if array.shape[2] == 4:
        laid = np.empty((*array.shape[:2], 3), np.uint8)
        for top, bottom in _strips(*array.shape[:2]):
            opacity = array[top:bottom, :, 3:].astype(np.float32) / 255
            laid[top:bottom] = (array[top:bottom, :, :3] * opacity + 255 * (1 - opacity)).round()
        return laid
    return array
