"""Audio files as training reads them: one channel, one rate, float32 in [-1, 1]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from neurips16.training.data.sound_parts import Part, sound_parts
from neurips16.training.errors import DataError

# Of all channels: a gigabyte, or 100 minutes of mono at 44.1 kHz. Half a megabyte of FLAC can say more.
MAX_SAMPLES = 1 << 28
_BLOCK_FRAMES = 1 << 17
_EXACT_LENGTHS = ("WAV", "WAVEX", "FLAC", "AIFF")  # formats whose header says how long the sound is


def read_waveform(path: str | Path, sample_rate_hz: int) -> np.ndarray:
    """Decode a file (whatever libsndfile reads: wav, flac, ogg, mp3), mix its channels and resample it.

    Returns:
        float32 [T].

    Raises:
        DataError: it is not there, cannot be decoded, is too long, or holds no sound.
    """
    try:
        data = Path(path).read_bytes()
        parts, is_bound = sound_parts(memoryview(data))
        sound = [_read(part, path, sample_rate_hz, is_exact=not is_bound) for part in parts]
    except DataError:
        raise
    except Exception as error:  # whatever a damaged header makes libsndfile and its reader raise
        raise DataError(f"{path} cannot be read as audio: {error}") from error
    mono = np.concatenate(sound)
    if len(mono) == 0 or not np.isfinite(mono).all():
        raise DataError(f"{path} holds {'no samples' if len(mono) == 0 else 'samples that are not finite'}")
    return mono


def _read(part: Part, path: str | Path, sample_rate_hz: int, *, is_exact: bool) -> np.ndarray:
    blocks, read = [], 0
    with _Forward(part) as file:
        if is_exact and file.format in _EXACT_LENGTHS and file.frames * file.channels > MAX_SAMPLES:
            raise DataError(
                f"{path} has {file.frames} samples in {file.channels} channels, at most {MAX_SAMPLES} are read"
            )
        while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
            read += block.size
            if read > MAX_SAMPLES:
                raise DataError(f"{path} has more than {MAX_SAMPLES} samples in {file.channels} channels")
            blocks.append(block.mean(axis=1))
        rate = file.samplerate
        if is_exact and file.format in _EXACT_LENGTHS and read < file.frames * file.channels:
            raise DataError(
                f"{path} is cut off: it has {read // file.channels} of the {file.frames} frames it promises"
            )
    mono = np.concatenate([np.zeros(0, np.float32), *blocks])
    return mono if rate == sample_rate_hz else soxr.resample(mono, rate, sample_rate_hz).astype(np.float32)


class _Forward(soundfile.SoundFile):
    """Read from its start to its end: soundfile would seek after each block, which FLAC does by looking about."""

    def seekable(self) -> bool:
        return False
