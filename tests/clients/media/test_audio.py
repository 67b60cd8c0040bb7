from __future__ import annotations

import contextlib
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from neurips16.clients.media.audio import BLOCK_FRAMES, sound_blocks
from neurips16.clients.protocol.errors import InvalidAudioError, InvalidInputError

RATE = 22_050


def read(audio, sample_rate_hz=None) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *sound_blocks(audio, sample_rate_hz, RATE)])


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_any_rate_becomes_the_models(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(rate), tone(rate)], axis=1), rate, subtype="FLOAT")
    got = read(tmp_path / "a.wav")
    assert got.dtype == np.float32
    assert abs(len(got) - RATE) <= 1
    np.testing.assert_allclose(got[1000:-1000], tone(RATE)[1000 : len(got) - 1000], atol=2e-3)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_every_format_is_read(tmp_path, name):
    soundfile.write(tmp_path / name, tone(44_100), 44_100)
    got = read(tmp_path / name)
    assert len(got) == pytest.approx(RATE, abs=1200)  # mp3 has whole frames
    assert np.abs(np.fft.rfft(got[:RATE], RATE)).argmax() == 440


def test_blocks_join_without_a_seam(tmp_path):
    rng = np.random.default_rng(0)
    long = 0.1 * rng.standard_normal(3 * BLOCK_FRAMES + 777).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", long, 44_100, subtype="FLOAT")
    blocks = list(sound_blocks(tmp_path / "long.wav", None, RATE))
    assert len(blocks) > 2
    assert max(map(len, blocks)) <= BLOCK_FRAMES
    np.testing.assert_allclose(np.concatenate(blocks), soxr.resample(long, 44_100, RATE), atol=1e-6)


def test_whole_numbers_and_channels():
    small = np.array([[32767, -32768], [16384, 16384], [0, 0]], np.int16)
    np.testing.assert_allclose(read(small, RATE), [-0.5 / 32768, 0.5, 0], atol=1e-7)
    np.testing.assert_allclose(read(np.array([0, 128, 255], np.uint8), RATE), [-1, 0, 127 / 128])
    np.testing.assert_allclose(read(np.array([0.25, -0.5]), RATE), [0.25, -0.5])


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 1000)), "more channels than samples"),
        (np.zeros(0), "expected samples"),
        (np.zeros((2, 2, 2)), "expected samples"),
        (np.array(["a"]), "expected floating-point or whole numbers"),
        (np.array([0.0, np.nan]), "not finite"),
        (np.array([0.0, np.inf]), "not finite"),
        (np.array([0.0, 3000.0]), "reaches 3000; floating-point samples lie in"),
    ],
)
def test_arrays_that_are_no_sound(audio, message):
    with pytest.raises(InvalidAudioError, match=message):
        read(audio, RATE)


def test_an_array_needs_its_rate():
    with pytest.raises(InvalidInputError, match="give sample_rate_hz"):
        read(np.zeros(100))
    with pytest.raises(InvalidAudioError, match="has 44 samples a second"):
        read(np.zeros(100), 44)


def test_files_that_are_no_sound(tmp_path):
    (tmp_path / "text.wav").write_text("hello " * 100)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    for name, message in (
        ("none.wav", "is not there"),
        ("", "is no file"),
        ("text.wav", "cannot be read as audio: "),
        ("empty.wav", "is empty: a file of 0 bytes"),
        ("nan.wav", "not finite"),
    ):
        with pytest.raises(InvalidAudioError, match=message) as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name).rstrip("/"))
        assert "\n" not in str(caught.value)


def test_a_flac_that_is_cut_off(tmp_path):
    rng = np.random.default_rng(0)
    whole, cut = tmp_path / "whole.flac", tmp_path / "cut.flac"
    soundfile.write(whole, 0.3 * rng.standard_normal(10 * 44_100), 44_100)
    assert len(read(whole)) == 10 * RATE
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InvalidAudioError, match="cut off"):
        read(cut)


def peak_bytes(path) -> int:
    """The memory that reading a file takes at most."""
    tracemalloc.start()
    try:
        with contextlib.suppress(InvalidAudioError):
            for _ in sound_blocks(path, None, RATE):
                pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_header_that_claims_weeks_of_sound_takes_no_memory(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, np.zeros((1000, 8)), RATE)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # the 36 bits of the number of samples: 69 billion
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    assert soundfile.info(path).frames == 2**36 - 1
    with pytest.raises(InvalidAudioError, match="the limit is 3600 s: cut it up, or set NEURIPS16_MAX_SOUND_SECONDS"):
        read(path)
    with pytest.raises(InvalidAudioError, match="cut off"):
        list(sound_blocks(path, None, RATE, max_s=float("inf")))
    assert peak_bytes(path) < 16 << 20


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.ogg", "a.mp3"])
def test_a_small_file_of_much_sound_is_refused(tmp_path, name, monkeypatch):
    soundfile.write(tmp_path / name, np.zeros(20 * 8_000), 8_000)
    content = (tmp_path / name).read_bytes()
    for audio in (tmp_path / name, content):
        blocks = []
        with pytest.raises(InvalidAudioError, match="s of sound or more, the limit is 10 s"):
            blocks.extend(sound_blocks(audio, None, 8_000, max_s=10))
        if name in ("a.flac", "a.wav"):  # whose headers say how long it is: nothing of it is sent
            assert blocks == []
    assert sum(map(len, sound_blocks(content, None, 8_000, max_s=21))) >= 20 * 8_000
    monkeypatch.setenv("NEURIPS16_MAX_SOUND_SECONDS", "10")
    with pytest.raises(InvalidAudioError, match="or set NEURIPS16_MAX_SOUND_SECONDS"):
        list(sound_blocks(content, None, 8_000))
    assert len(read(np.zeros(20 * RATE), RATE)) == 20 * RATE  # an array is in memory already
    monkeypatch.setenv("NEURIPS16_MAX_SOUND_SECONDS", "-1")
    with pytest.raises(InvalidInputError, match="is a number over 0, got '-1'"):
        list(sound_blocks(content, None, 8_000))


def test_a_thousand_channels_are_read_in_smaller_blocks(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros((4000, 1000), np.int16), RATE)  # 16 MB as float32
    assert peak_bytes(tmp_path / "x.wav") < 12 << 20


def test_the_bytes_of_a_file_are_as_good_as_the_file(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 9000), 16_000)
    content = (tmp_path / "x.wav").read_bytes()
    want = np.concatenate(list(sound_blocks(tmp_path / "x.wav", None, 8_000)))
    np.testing.assert_array_equal(np.concatenate(list(sound_blocks(content, None, 8_000))), want)
    for bad, message in ((b"", "the sound is empty"), (b"hello", "the sound cannot be read as audio")):
        with pytest.raises(InvalidAudioError, match=message):
            list(sound_blocks(bad, None, 8_000))
