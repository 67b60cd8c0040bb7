"""What a picture file looks like to a model, whoever decodes it: one table for every package that has a decoder."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_RNG = np.random.default_rng(0)
COLOURS = np.kron(_RNG.integers(0, 256, (3, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)  # [24, 40, 3]
GREY = COLOURS[:, :, 0]
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # of what is upright, so that it lies as it is stored
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
SHORT, LONG, ASCII, RATIONAL, SLONG, FLOAT = 3, 4, 2, 5, 9, 11
ORIENTATION, X_RESOLUTION, RESOLUTION_UNIT, MAKE, EXIF_FOLDER = 0x0112, 0x011A, 0x0128, 0x010F, 0x8769


@dataclass(frozen=True)
class PictureCase:
    """A file and what it shows: an array uint8 [H, W, 3], or None where it is refused with one line."""

    name: str
    content: bytes
    want: np.ndarray | None
    tolerance: int = 0


def saved(pixels: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    """A picture as a file of some format."""
    buffer = io.BytesIO()
    (Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(*tags: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """EXIF with one folder of tags (tag, type, count, at most 4 bytes of value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    entries = b"".join(struct.pack(f"{order}HHI", *tag[:3]) + tag[3].ljust(4, b"\0") for tag in tags)
    return b"Exif\0\0" + head + entries + bytes(4)


def oriented(value: int, *more: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """EXIF that says how a picture lies, beside other tags."""
    return exif((ORIENTATION, SHORT, 1, struct.pack(f"{order}H", value)), *more, order=order)


LIES = {
    "a text as a number": (MAKE, SHORT, 1, b"\7\0"),
    "a number as a text": (X_RESOLUTION, ASCII, 4, b"abc\0"),
    "a negative number": (RESOLUTION_UNIT, SLONG, 1, struct.pack("<i", -5)),
    "no number": (X_RESOLUTION, FLOAT, 1, struct.pack("<f", float("nan"))),
    "an endless number": (X_RESOLUTION, FLOAT, 1, struct.pack("<f", float("inf"))),
    "0 / 0": (X_RESOLUTION, RATIONAL, 1, struct.pack("<I", 0)),
    "an offset beyond the end": (X_RESOLUTION, RATIONAL, 1, struct.pack("<I", 2**31)),
    "a folder that is a text": (EXIF_FOLDER, ASCII, 4, b"abc\0"),
    "a folder that is itself": (EXIF_FOLDER, LONG, 1, struct.pack("<I", 8)),
    "an unknown type": (MAKE, 99, 1, b"abcd"),
    "more values than there are": (MAKE, SHORT, 2**31, b"\0\0\0\0"),
}


def picture_cases() -> Iterator[PictureCase]:
    """All of them."""
    three = np.repeat(GREY[:, :, None], 3, axis=2)
    for kind in ("PNG", "BMP", "PPM", "TIFF"):
        yield PictureCase(f"RGB {kind}", saved(COLOURS, kind), COLOURS)
    yield PictureCase("JPEG", saved(COLOURS, "JPEG", quality=100, subsampling=0), COLOURS, 6)
    yield PictureCase("WebP", saved(COLOURS, "WEBP", lossless=True), COLOURS)
    yield PictureCase("JPEG 2000", saved(COLOURS, "JPEG2000", irreversible=False), COLOURS)
    yield PictureCase("GIF", saved(Image.fromarray(GREY), "GIF"), three)
    for value, turn in TURNS.items():
        stored = np.ascontiguousarray(turn(COLOURS))
        yield PictureCase(f"orientation {value} PNG", saved(stored, "PNG", exif=oriented(value)), COLOURS)
        yield PictureCase(
            f"orientation {value} big-endian", saved(stored, "PNG", exif=oriented(value, order=">")), COLOURS
        )
        yield PictureCase(
            f"orientation {value} WebP", saved(stored, "WEBP", lossless=True, exif=oriented(value)), COLOURS
        )
        yield PictureCase(
            f"orientation {value} JPEG",
            saved(stored, "JPEG", quality=100, subsampling=0, exif=oriented(value)),
            COLOURS,
            6,
        )
        yield PictureCase(f"orientation {value} TIFF", saved(stored, "TIFF", tiffinfo={274: value}), COLOURS)
    for value in (0, 9, 65535):
        yield PictureCase(f"orientation {value}", saved(COLOURS, "PNG", exif=oriented(value)), COLOURS)
    lying = np.ascontiguousarray(TURNS[6](COLOURS))
    for name, lie in LIES.items():
        for kind in ("JPEG", "PNG"):
            options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
            content = saved(lying, kind, exif=oriented(6, lie), **options)
            yield PictureCase(f"{name} {kind}", content, COLOURS, 6 if kind == "JPEG" else 0)
    yield PictureCase("EXIF cut off", saved(COLOURS, "PNG", exif=oriented(6)[:15]), COLOURS)
    yield PictureCase("EXIF that is none", saved(COLOURS, "PNG", exif=b"Exif\0\0hello"), COLOURS)
    yield PictureCase(
        "1 bit", saved(Image.fromarray(GREY > 127), "PNG"), np.where(three > 127, np.uint8(255), np.uint8(0))
    )
    yield PictureCase("grey", saved(GREY, "PNG"), three)
    deep = GREY.astype(np.uint16) * 257
    for kind in ("PNG", "TIFF", "PPM"):
        yield PictureCase(f"grey of 16 bits {kind}", saved(Image.fromarray(deep), kind), three)
    yield PictureCase("grey of 32 bits", saved(Image.fromarray(deep.astype(np.int32)), "TIFF"), three)
    yield PictureCase("grey beyond 16 bits", saved(Image.fromarray(deep.astype(np.int32) + 65536), "TIFF"), None)
    yield PictureCase("grey below 0", saved(Image.fromarray(deep.astype(np.int32) - 70000), "TIFF"), None)
    yield PictureCase("floating-point", saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), None)
    clear = GREY[0, 0] == GREY
    on_white = np.where(clear[:, :, None], np.uint8(255), three)
    yield PictureCase("grey, one value clear", saved(GREY, "PNG", transparency=int(GREY[0, 0])), on_white)
    yield PictureCase(
        "16 bits, one value clear", saved(Image.fromarray(deep), "PNG", transparency=int(deep[0, 0])), on_white
    )
    colour = tuple(map(int, COLOURS[0, 0]))
    on_white = np.where((COLOURS[0, 0] == COLOURS).all(axis=2)[:, :, None], np.uint8(255), COLOURS)
    yield PictureCase("RGB, one colour clear", saved(COLOURS, "PNG", transparency=colour), on_white)
    opacity = np.where(clear, np.uint8(0), np.uint8(255))
    on_white = np.where(clear[:, :, None], np.uint8(255), COLOURS)
    rgba = np.dstack([COLOURS, opacity])
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG2000", {})):
        yield PictureCase(f"RGBA {kind}", saved(rgba, kind, **options), on_white)
    yield PictureCase("RGBA turned", saved(np.ascontiguousarray(TURNS[8](rgba)), "PNG", exif=oriented(8)), on_white)
    on_white = np.where(clear[:, :, None], np.uint8(255), three)
    yield PictureCase("LA", saved(Image.fromarray(np.dstack([GREY, opacity]), "LA"), "PNG"), on_white)
    palette = Image.fromarray(np.where(clear, np.uint8(1), np.uint8(0)), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    plain = np.where(clear[:, :, None], np.uint8([40, 50, 60]), np.uint8([10, 20, 30]))
    yield PictureCase("palette", saved(palette, "PNG"), plain)
    on_white = np.where(clear[:, :, None], np.uint8(255), plain)
    yield PictureCase("palette, one colour clear", saved(palette, "PNG", transparency=1), on_white)
    yield PictureCase("palette with opacities", saved(palette, "PNG", transparency=b"\xff\0"), on_white)
    yield PictureCase("palette GIF, clear", saved(palette, "GIF", transparency=1), on_white)
    cmyk = np.zeros((24, 40, 4), np.uint8)
    cmyk[:, :, 1], cmyk[:, :20, 3] = 255, 255
    shown = np.zeros((24, 40, 3), np.uint8)
    shown[:, 20:] = [255, 0, 255]
    yield PictureCase("CMYK TIFF", saved(Image.fromarray(cmyk, "CMYK"), "TIFF"), shown)
    yield PictureCase("CMYK JPEG", saved(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=100), shown, 12)
    ycc = np.asarray(Image.fromarray(cmyk[:, :, :3]).convert("YCbCr"))
    stored = saved(Image.fromarray(np.dstack([255 - ycc, cmyk[:, :, 3]]), "CMYK"), "JPEG", quality=100)
    transform = stored.index(b"Adobe") + 11  # 2: the first three are YCbCr of the inks
    yield PictureCase("YCCK JPEG", stored[:transform] + b"\2" + stored[transform + 1 :], shown, 12)
    lab = ImageCms.profileToProfile(
        Image.fromarray(COLOURS), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    yield PictureCase("LAB", saved(lab, "TIFF"), COLOURS, 24)
    frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        yield PictureCase(f"animated {kind}", saved(frames[0], kind, save_all=True, append_images=frames[1:]), None)
    yield PictureCase(
        "a camera's previews",
        saved(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=100, subsampling=0),
        COLOURS,
        6,
    )
    yield PictureCase("cut off", saved(COLOURS, "PNG")[:-60], None)
    yield PictureCase("no picture", b"hello" * 20, None)
    yield PictureCase("empty", b"", None)
