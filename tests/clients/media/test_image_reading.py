from __future__ import annotations

import resource
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from neurips16.clients.media import image_reading
from neurips16.clients.media.image_reading import read_image
from neurips16.clients.media.limits import MAX_IMAGE_BYTES
from neurips16.clients.media.picture_grid import read_picture
from neurips16.clients.protocol.connection import MAX_MESSAGE_BYTES
from neurips16.clients.protocol.errors import InvalidImageError, InvalidInputError


@pytest.fixture
def colours():
    """Red above blue, left half darker: every turn of it is another picture."""
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2, :, 0], image[2:, :, 2] = 200, 200
    image[:, :3] //= 2
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "gif"])
def test_formats(tmp_path, colours, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(colours).save(tmp_path / f"x.{suffix}", **options)
    np.testing.assert_array_equal(read_image(tmp_path / f"x.{suffix}"), colours)
    np.testing.assert_array_equal(read_image(str(tmp_path / f"x.{suffix}")), colours)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, colours, orientation):
    """A camera that was turned stores the sensor's rows and says how to turn them."""
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), undo[orientation](colours))


def test_cmyk(tmp_path):
    Image.new("CMYK", (5, 3), (0, 255, 255, 0)).save(tmp_path / "x.jpg")
    image = read_image(tmp_path / "x.jpg")
    assert image.shape == (3, 5, 3)
    assert (np.abs(image.astype(int) - [255, 0, 0]) < 12).all()


def test_16_bits_become_8(tmp_path):
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    for suffix in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"x.{suffix}")
        assert read_image(tmp_path / f"x.{suffix}")[0].tolist() == [[v] * 3 for v in (0, 1, 127, 255)]


def test_one_bit_palette_and_grey(tmp_path):
    for mode in ("1", "L", "P"):
        Image.new(mode, (4, 3), 1 if mode == "1" else 7).save(tmp_path / "x.png")
        assert read_image(tmp_path / "x.png").shape == (3, 4, 3)


def test_what_is_transparent_lies_on_white(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "x.png")
    assert (read_image(tmp_path / "x.png") == 255).all()
    half = np.full((1, 1, 4), [0, 0, 0, 51], np.uint8)
    assert read_image(half).tolist() == [[[204] * 3]]


def test_one_pixel_and_very_wide(tmp_path):
    for size in ((1, 1), (20_000, 3)):
        Image.new("RGB", size, "red").save(tmp_path / "x.png")
        assert read_image(tmp_path / "x.png").shape == (size[1], size[0], 3)


def test_an_animation_is_a_question_and_a_camera_s_preview_is_none(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    for suffix in ("gif", "webp", "png", "tiff"):
        frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
        with pytest.raises(InvalidImageError, match=rf"x\.{suffix} has 3 frames: save the one that you mean"):
            read_image(tmp_path / f"x.{suffix}")
    frames[0].save(tmp_path / "x.mpo", save_all=True, append_images=frames[1:2])
    assert read_image(tmp_path / "x.mpo").shape == (8, 8, 3)


def test_files_that_are_no_images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("jpg", "png"):
        path = tmp_path / f"x.{suffix}"
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(InvalidImageError, match=rf"x\.{suffix} cannot be read as an image: .*truncated"):
            read_image(path)
    (tmp_path / "x.txt").write_text("text")
    (tmp_path / "empty").touch()
    for name, text in (
        ("x.txt", "no image of a known format"),
        ("empty", "no image of a known format"),
        ("none", "does not exist"),
        (".", "cannot be read as an image"),
    ):
        with pytest.raises(InvalidImageError, match=text) as raised:
            read_image(tmp_path / name)
        assert "\n" not in str(raised.value)


PEAK = """
import resource, sys
from neurips16.clients.media.image_reading import read_image
read_image(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = read_image(sys.argv[1], max_bytes=1 << 40)
print(image.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
HEAVY = {  # mode, format, options
    "photo": ("RGB", "png", {}),
    "transparent": ("RGBA", "png", {}),
    "palette": ("P", "png", {"transparency": 0}),
    "deep": ("I;16", "png", {}),
    "jpeg": ("RGB", "jpg", {}),
    "progressive": ("RGB", "jpg", {"progressive": True}),
    "webp": ("RGB", "webp", {"lossless": True, "method": 0}),
    "tiff": ("RGB", "tiff", {"compression": "tiff_lzw"}),
    "j2k": ("RGB", "jp2", {}),
    "gif": ("P", "gif", {}),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_decoding_takes_no_more_memory_than_is_counted(tmp_path, kind):
    """In a process of its own; the limit just below what is counted refuses the file."""
    mode, suffix, options = HEAVY[kind]
    side = 3000
    Image.new(mode, (side, side)).save(tmp_path / f"x.{suffix}", **options)
    Image.new(mode, (8, 8)).save(tmp_path / f"small.{suffix}", **options)
    with pytest.raises(
        InvalidImageError, match=r"takes (\d+) MiB of memory, the limit is 1 MiB; make it smaller"
    ) as caught:
        read_image(tmp_path / f"x.{suffix}", max_bytes=1 << 20)
    counted = int(str(caught.value).partition("takes ")[2].partition(" MiB")[0])
    command = [sys.executable, "-c", PEAK, str(tmp_path / f"x.{suffix}"), str(tmp_path / f"small.{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shape, _, kibibytes = done.stdout.strip().rpartition(" ")
    assert shape == f"({side}, {side}, 3)"
    assert int(kibibytes) >> 10 <= counted + 24  # strips, and what the allocator rounds up


def test_an_image_that_would_fill_the_memory(tmp_path, monkeypatch):
    Image.new("1", (30_000, 5_000)).save(tmp_path / "x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidImageError, match=r"too many pixels \(30000 x 5000\)"):
            read_image(tmp_path / "x.png")
    Image.new("RGB", (100, 100)).save(tmp_path / "y.png")
    assert read_image(tmp_path / "y.png", max_bytes=70_000).shape == (100, 100, 3)
    for limit in ({"max_bytes": 69_999}, {}):
        monkeypatch.setenv("NEURIPS16_MAX_IMAGE_BYTES", "69999")
        with pytest.raises(InvalidImageError, match="or set NEURIPS16_MAX_IMAGE_BYTES"):
            read_image(tmp_path / "y.png", **limit)
    monkeypatch.setenv("NEURIPS16_MAX_IMAGE_BYTES", "lots")
    with pytest.raises(InvalidInputError, match=r"NEURIPS16_MAX_IMAGE_BYTES, .*is a number over 0, got 'lots'"):
        read_image(tmp_path / "y.png")


def test_an_image_within_its_limit_fits_in_a_message():
    assert MAX_IMAGE_BYTES // 7 * 3 < MAX_MESSAGE_BYTES  # 7 bytes a pixel to decode a photo, 3 to send it


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "I;16", "1", "CMYK"])
def test_strips_join_without_a_seam(tmp_path, mode, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (37, 23, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGBA":
        image = image.convert("LA" if mode == "LA" else "RGB").convert(mode)
    suffix = "tiff" if mode == "CMYK" else "png"
    image.save(tmp_path / f"x.{suffix}")
    whole = read_image(tmp_path / f"x.{suffix}")
    monkeypatch.setattr(image_reading, "STRIP_PIXELS", 100)
    np.testing.assert_array_equal(read_image(tmp_path / f"x.{suffix}"), whole)
    np.testing.assert_array_equal(read_image(pixels), read_image(Image.fromarray(pixels)))


def png_header(width, height):
    """A PNG of a few bytes that claims so many pixels."""
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


CLAIMS = {
    "png": png_header(100_000, 100_000),
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": b"P6 100000 100000 255\n" + bytes(100),
    "gif": b"GIF89a"
    + struct.pack("<HHBBB", 65_000, 65_000, 0, 0, 0)
    + b",\0\0\0\0\xe8\xfd\xe8\xfd\0\x02\x02\x44\x01\0;",
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_header_that_claims_an_enormous_image_takes_no_memory(tmp_path, kind):
    (tmp_path / f"x.{kind}").write_bytes(CLAIMS[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_image, read_picture):
        with pytest.raises(InvalidImageError, match="too many pixels"):
            read(tmp_path / f"x.{kind}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_a_program_is_no_image(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "x.eps")  # which Pillow would hand to Ghostscript
    with pytest.raises(InvalidImageError, match="no image of a known format"):
        read_image(tmp_path / "x.eps")


def test_values_whose_range_is_not_known(tmp_path):
    Image.fromarray(np.array([[0.5, 3.0]], np.float32)).save(tmp_path / "x.tiff")
    with pytest.raises(InvalidImageError, match="floating-point"):
        read_image(tmp_path / "x.tiff")
    Image.fromarray(np.array([[-5, 70_000]], np.int32)).save(tmp_path / "y.tiff")
    with pytest.raises(InvalidImageError, match="from -5 to 70000"):
        read_image(tmp_path / "y.tiff")


def test_arrays_and_images_of_pillow(colours):
    assert read_image(colours) is colours
    np.testing.assert_array_equal(read_image(Image.fromarray(colours)), colours)
    np.testing.assert_array_equal(read_image(colours[:, :, 0])[:, :, 2], colours[:, :, 0])
    for wrong in (colours.astype(np.float32), colours[None], colours[:0], colours[:, :, :2]):
        with pytest.raises(InvalidImageError, match=r"got (uint8|float32) \["):
            read_image(wrong)


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_formats_that_depend_on_how_pillow_was_built(tmp_path, suffix):
    Image.init()
    if f".{suffix}" not in Image.EXTENSION or Image.EXTENSION[f".{suffix}"] not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {suffix}")
    pixels = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"x.{suffix}", quality=95)
    assert np.abs(read_image(tmp_path / f"x.{suffix}").astype(int) - pixels).max() < 8
