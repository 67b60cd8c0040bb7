"""Training, `evaluate` and the clients see the same picture in the same file."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_cases import COLOURS, PictureCase, exif, picture_cases, saved

from neurips16.clients.media.image_reading import read_image
from neurips16.clients.protocol.errors import InvalidImageError
from neurips16.training.data.detection.reader import read_image as read_for_training
from neurips16.training.errors import DataError

PACKAGES = {"clients": (read_image, InvalidImageError), "training": (read_for_training, DataError)}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("case", list(picture_cases()), ids=lambda case: case.name)
def test_a_picture_is_the_same_everywhere(tmp_path, case: PictureCase, package):
    read, error = PACKAGES[package]
    (tmp_path / "x.bin").write_bytes(case.content)
    if case.want is None:
        with pytest.raises(error) as caught:
            read(tmp_path / "x.bin")
        assert "\n" not in str(caught.value)
        return
    got = read(tmp_path / "x.bin")
    assert (got.dtype, got.shape) == (np.uint8, case.want.shape)
    assert np.abs(got.astype(int) - case.want).max() <= case.tolerance


_TAGS = st.tuples(
    st.sampled_from([0x0112, 0x011A, 0x011B, 0x0128, 0x010F, 0x8769, 0x8825, 0x0201, 0x0202, 0x0100, 0x0103, 0x0111])
    | st.integers(0, 65535),
    st.integers(0, 14),
    st.sampled_from([0, 1, 2, 4, 5, 1 << 16, (1 << 32) - 1]),
    st.binary(max_size=4),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tags=st.lists(_TAGS, max_size=6), order=st.sampled_from("<>"), kind=st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_whatever_exif_says_the_picture_is_read(tmp_path, tags, order, kind):
    (tmp_path / "x.bin").write_bytes(saved(COLOURS, kind, exif=exif(*tags, order=order)))
    one, two = read_image(tmp_path / "x.bin"), read_for_training(tmp_path / "x.bin")
    assert sorted(one.shape) == sorted(COLOURS.shape)
    np.testing.assert_array_equal(one, two)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]),
    changes=st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
)
def test_a_damaged_header_raises_the_room_s_error_or_none(tmp_path, kind, changes):
    content = bytearray(saved(COLOURS, kind))
    for place, new in changes:
        content[place : place + len(new)] = new
    (tmp_path / "x.bin").write_bytes(content)
    for read, error in PACKAGES.values():
        with contextlib.suppress(error):
            assert read(tmp_path / "x.bin").shape[2] == 3
