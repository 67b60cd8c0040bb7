"""Picture files as training reads them: RGB, of formats that are pictures and nothing else, within a bound."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from neurips16.training.errors import DataError

# Of Pillow's forty, one is a program (EPS, which it hands to Ghostscript), and many are old and little tried.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000  # 700 MB while one is decoded


def open_picture(path: str | Path) -> Image.Image:
    """A picture, decoded, in RGB.

    Raises:
        DataError: it cannot be read, is of another format, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of a bound below ours
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{path} has {image.width} x {image.height} pixels, at most {MAX_PIXELS} are read")
                return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture: {error}") from error
