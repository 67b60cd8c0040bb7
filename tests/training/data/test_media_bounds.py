"""Sounds and pictures of data sets: what would take too much memory, or is a program, is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from PIL import Image

from neurips16.training.data import audio, pictures
from neurips16.training.data.audio import read_waveform
from neurips16.training.data.detection.reader import read_image
from neurips16.training.data.sound_pairs.teacher import _picture
from neurips16.training.errors import DataError


def test_a_header_that_claims_weeks_of_sound(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, np.zeros((1000, 8)), 22_050)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # the 36 bits of the number of samples: 69 billion
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(DataError, match="has 68719476735 samples in 8 channels, at most 268435456 are read"):
        read_waveform(path, 22_050)


def test_a_small_file_of_much_sound(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "MAX_SAMPLES", 2000)
    soundfile.write(tmp_path / "x.flac", np.zeros((1000, 2)), 22_050)
    assert len(read_waveform(tmp_path / "x.flac", 22_050)) == 1000
    soundfile.write(tmp_path / "x.flac", np.zeros((1001, 2)), 22_050)
    with pytest.raises(DataError, match="has 1001 samples in 2 channels"):
        read_waveform(tmp_path / "x.flac", 22_050)


@pytest.mark.parametrize("read", [read_image, _picture])
def test_pictures(tmp_path, read, monkeypatch):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "x.eps")  # which Pillow would hand to Ghostscript
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "x.png")
    for name in ("x.eps", "bomb.png", "none.png"):
        with pytest.raises(DataError, match=rf"{name} cannot be read as a picture") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert read(tmp_path / "x.png").shape[2] == 3
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1199)
    with pytest.raises(DataError, match="has 40 x 30 pixels, at most 1199 are read"):
        read(tmp_path / "x.png")
