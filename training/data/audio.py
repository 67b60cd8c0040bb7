"""Audio files as training reads them: one channel, one rate, float32 in [-1, 1]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from neurips16.training.errors import DataError

# Of all channels: a gigabyte, or 100 minutes of mono at 44.1 kHz. Half a megabyte of FLAC can say more.
MAX_SAMPLES = 1 << 28


def read_waveform(path: str | Path, sample_rate_hz: int) -> np.ndarray:
    """Decode a file (whatever libsndfile reads: wav, flac, ogg, mp3), mix its channels and resample it.

    Returns:
        float32 [T].

    Raises:
        DataError: it is not there, cannot be decoded, is too long, or holds no sound.
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames * file.channels > MAX_SAMPLES:
                raise DataError(
                    f"{path} has {file.frames} samples in {file.channels} channels, at most {MAX_SAMPLES} are read"
                )
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio: {error}") from error
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise DataError(f"{path} holds {'no samples' if len(samples) == 0 else 'samples that are not finite'}")
    mono = samples.mean(axis=1)
    return mono if rate == sample_rate_hz else soxr.resample(mono, rate, sample_rate_hz).astype(np.float32)
