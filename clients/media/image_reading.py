"""Images as the models read them: eight bits, RGB, upright, whatever the file is like."""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from neurips16.clients.protocol.errors import InvalidImageError

if TYPE_CHECKING:
    from PIL.Image import Image

ImageSource = Union[str, "os.PathLike[str]", bytes, np.ndarray, "Image"]

BITS_16 = 257  # 65535 / 255
# Pillow knows some forty. Of those that nobody sends, one is a program (EPS, which it hands to Ghostscript), and the
# readers of the others are old and little tried.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")


def read_image(source: ImageSource) -> np.ndarray:
    """An image as uint8 [H, W, 3] in RGB.

    Of a file, or its bytes: turned as its EXIF orientation says, 16 bits scaled to 8, CMYK and palettes converted,
    what is transparent laid on white. An array is uint8 [H, W, 3], [H, W, 4] (with opacity) or [H, W].

    Raises:
        InvalidImageError: it cannot be read, is cut off, has several frames or more pixels than Pillow takes for
            harmless (89 million), or is an array of another kind.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the image")
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)
    name = file if isinstance(file, str) else "the image"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_readable()) as opened:
                # A camera's MPO holds previews behind the picture; several frames of any other kind are a question.
                frames = getattr(opened, "n_frames", 1)
                if frames > 1 and opened.format != "MPO":
                    raise InvalidImageError(f"{name} has {frames} frames: save the one that you mean as an image")
                return _to_rgb(ImageOps.exif_transpose(opened), name)
    except InvalidImageError:
        raise
    except FileNotFoundError as error:
        raise InvalidImageError(f"{name} does not exist") from error
    except UnidentifiedImageError as error:
        raise InvalidImageError(f"{name} is no image of a known format") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidImageError(f"{name} has too many pixels ({error}): make it smaller, or cut it up") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises where a file is damaged
        raise InvalidImageError(f"{name} cannot be read as an image: {error}") from error


def _readable() -> list[str]:
    """Those of `FORMATS` that this Pillow reads: AVIF depends on its build, HEIF on the plugin pillow-heif."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _to_rgb(image: Any, name: str) -> np.ndarray:
    from PIL import Image

    if image.mode in _16_BIT_MODES or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InvalidImageError(
                f"{name} has values from {values.min()} to {values.max()}, expected at most 16 bits"
            )
        return _of_array((values // BITS_16).astype(np.uint8))
    if image.mode == "F":
        raise InvalidImageError(
            f"{name} has floating-point values, whose range is not known: save it with 8 or 16 bits"
        )
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
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
        opacity = array[:, :, 3:].astype(np.float32) / 255
        return (array[:, :, :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
    return array
