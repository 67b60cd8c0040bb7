from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from neurips16.clients.media.picture_grid import BACKGROUND, GAP, grid, read_picture, write_animation, write_picture
from neurips16.clients.protocol.errors import InvalidInputError


@pytest.fixture
def images():
    return np.arange(3, dtype=np.uint8)[:, None, None, None] * np.full((3, 4, 5, 1), 100, np.uint8)


def test_a_grid_fills_row_by_row_with_gaps(images):
    sheet = grid(images, 2)
    assert sheet.shape == (2 * (4 + GAP) + GAP, 2 * (5 + GAP) + GAP, 1)
    assert sheet[0, 0, 0] == BACKGROUND
    assert (sheet[GAP : GAP + 4, 2 * GAP + 5 : 2 * GAP + 10] == 100).all()
    assert (sheet[2 * GAP + 4 : 2 * GAP + 8, GAP : GAP + 5] == 200).all()
    assert (sheet[2 * GAP + 4 : 2 * GAP + 8, 2 * GAP + 5 : 2 * GAP + 10] == BACKGROUND).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_is_read_as_it_was_written(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, channels), dtype=np.uint8)
    write_picture(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", channels), image)
    write_picture(tmp_path / "b.png", image, scale=3)
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png", channels)[::3, ::3], image)


def test_an_animation_holds_every_frame(tmp_path, images):
    write_animation(tmp_path / "a.gif", images, scale=2)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 3
        assert animation.size == (10, 8)
        animation.seek(2)
        assert np.asarray(animation.convert("L")).max() == 200


def test_what_is_no_picture_is_refused(tmp_path, images):
    (tmp_path / "text.png").write_text("no picture")
    for name, reason in (("text.png", "no image of a known format"), ("absent.png", "does not exist")):
        with pytest.raises(InvalidInputError, match=reason):
            read_picture(tmp_path / name)
    with pytest.raises(InvalidInputError, match=r"cannot be written: .*; name a \.png or a \.gif file"):
        write_picture(tmp_path / "picture.nonsense", images[0])
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_picture(tmp_path / "nowhere/picture.png", images[0])
