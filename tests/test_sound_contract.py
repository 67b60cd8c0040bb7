"""Training and the clients hear the same in the same file, and all of it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurips16.clients.media import sound_parts as of_clients
from neurips16.clients.media.audio import sound_blocks
from neurips16.clients.protocol.errors import InvalidAudioError
from neurips16.training.data import sound_parts as of_training
from neurips16.training.data.audio import read_waveform
from neurips16.training.errors import DataError

RATE = 22_050


def hear(path) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *sound_blocks(path, None, RATE)])


PACKAGES = {"clients": (hear, InvalidAudioError), "training": (lambda path: read_waveform(path, RATE), DataError)}


@pytest.fixture(params=PACKAGES)
def package(request):
    """A reader, and the error that it raises."""
    return PACKAGES[request.param]


def noise(seconds: float, loud: float = 0.2, rate: int = RATE) -> np.ndarray:
    return loud * np.random.default_rng(0).standard_normal(round(seconds * rate)).clip(-3, 3)


def saved(samples: np.ndarray, kind: str, rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


def without_xing(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which says how many follow."""
    first, second, *_ = of_clients._frames(memoryview(mp3))
    assert first.counted(memoryview(mp3))
    return mp3[second.place :]


def vbr(samples: np.ndarray, rate: int = RATE) -> bytes:
    return saved(samples, "MP3", rate, bitrate_mode="VARIABLE", compression_level=0.3)


def test_both_rooms_look_at_files_alike():
    assert Path(of_clients.__file__).read_text() == Path(of_training.__file__).read_text()


QUIET_THEN_LOUD = np.concatenate([np.zeros(3 * RATE), noise(6)])


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (without_xing(vbr(QUIET_THEN_LOUD)), 9),
        (b"ID3\4\0\0\0\0\0\12" + bytes(10) + without_xing(vbr(QUIET_THEN_LOUD)), 9),
        (vbr(QUIET_THEN_LOUD), 9),
        (saved(QUIET_THEN_LOUD, "MP3", bitrate_mode="CONSTANT"), 9),
        (vbr(noise(6)) * 2, 12),
        (vbr(noise(6)) + b"TAG" + bytes(125) + vbr(noise(6)), 12),
        (without_xing(vbr(noise(3))) + vbr(noise(6)), 9),
        (vbr(noise(3)) + vbr(noise(6, rate=44_100), 44_100), 9),
        (vbr(noise(3)) + vbr(np.stack([noise(6)] * 2, axis=1)), 9),
        (saved(noise(6), "OGG") * 2, 12),
        (saved(noise(6), "OGG") + saved(noise(3, rate=44_100), "OGG", 44_100), 9),
        (saved(noise(3), "OGG") + saved(np.stack([noise(3)] * 2, axis=1), "OGG") * 2, 9),
        (saved(noise(3, rate=48_000), "OGG", 48_000, subtype="OPUS") * 3, 9),
        (saved(noise(3), "OGG"), 3),
        (saved(noise(3), "FLAC"), 3),
    ],
)
def test_all_of_a_file_is_heard(tmp_path, package, content, seconds):
    (tmp_path / "x.bin").write_bytes(content)
    read, _ = package
    sound = read(tmp_path / "x.bin")
    assert len(sound) / RATE == pytest.approx(seconds, abs=0.2)
    assert np.abs(sound[-RATE // 2 : -RATE // 5]).mean() > 0.05


def test_the_order_of_a_chain(tmp_path, package):
    (tmp_path / "x.ogg").write_bytes(saved(noise(2, 0.02), "OGG") + saved(noise(2, 0.3), "OGG"))
    sound = package[0](tmp_path / "x.ogg")
    assert np.abs(sound[:RATE]).mean() < 0.05 < 0.1 < np.abs(sound[-RATE:]).mean()


@pytest.mark.parametrize("seconds", [0.5, 6, 25])
def test_a_flac_that_does_not_say_how_long_it_is(tmp_path, package, seconds):
    content = bytearray(saved(noise(seconds), "FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    content[26:42] = bytes(16)  # nor has it a checksum of the whole
    (tmp_path / "x.flac").write_bytes(content)
    assert len(package[0](tmp_path / "x.flac")) == round(seconds * RATE)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "RF64", "W64", "FLAC", "OGG", "MP3"])
def test_half_a_file_is_not_taken_for_the_whole(tmp_path, package, kind):
    whole = vbr(noise(6)) if kind == "MP3" else saved(noise(6), kind)
    (tmp_path / "x.bin").write_bytes(whole[: len(whole) // 2])
    read, error = package
    with pytest.raises(error, match=r"x\.bin .*(cut off|promises|not whole|cannot be read|flac)"):
        read(tmp_path / "x.bin")
    (tmp_path / "x.bin").write_bytes(whole)
    assert len(read(tmp_path / "x.bin")) / RATE == pytest.approx(6, abs=0.2)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_that_was_written_as_a_stream(tmp_path, package, size):
    content = bytearray(saved(noise(2), "WAV"))
    content[40:44] = struct.pack("<I", size)
    (tmp_path / "x.wav").write_bytes(content)
    assert len(package[0](tmp_path / "x.wav")) == 2 * RATE


def test_a_name_that_means_no_header(tmp_path, package):
    read, error = package
    (tmp_path / "x.raw").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(error, match=r"x\.raw cannot be read as audio"):
        read(tmp_path / "x.raw")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["WAV", "FLAC", "MP3", "OGG", "AIFF", "AU", "CAF", "W64"]),
    changes=st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=4)), max_size=4),
    end=st.integers(0, 3000),
)
def test_a_damaged_header_raises_the_room_s_error_or_none(tmp_path, kind, changes, end):
    content = bytearray(_SHORT[kind])
    for place, new in changes:
        content[place : place + len(new)] = new
    (tmp_path / "x.bin").write_bytes(content[: len(content) - end] if end < len(content) else content)
    for read, error in PACKAGES.values():
        try:
            read(tmp_path / "x.bin")
        except error:
            continue


_SHORT = {kind: saved(noise(0.2), kind) for kind in ("WAV", "FLAC", "MP3", "OGG", "AIFF", "AU", "CAF", "W64")}
