"""Sounds as models take them: one channel, one rate, a block at a time, so that a long file needs little memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neurips16.clients.media.limits import SOUND_VARIABLE, max_sound_s
from neurips16.clients.protocol.errors import InvalidAudioError, InvalidInputError

BLOCK_FRAMES = 1 << 17  # 3 s at 44.1 kHz
BLOCK_SAMPLES = 8 * BLOCK_FRAMES  # of all channels: a header may claim a thousand of them
RATES_HZ = (1_000, 1_000_000)  # outside, the number is no sampling rate
LOUDEST = 4.0  # resampling and floating-point files go a little beyond 1; whole numbers of 16 bits go far beyond
_EXACT_LENGTHS = ("WAV", "WAVEX", "FLAC", "AIFF")  # formats whose header says how long the sound is

Audio = str | Path | bytes | np.ndarray


def sound_blocks(
    audio: Audio, sample_rate_hz: int | None, target_rate_hz: int, *, max_s: float | None = None
) -> Iterator[np.ndarray]:
    """The samples of a file or an array, mixed to one channel and resampled.

    Args:
        audio: a file that libsndfile reads (wav, flac, ogg, mp3, …), its bytes, or samples [T] or [T, channels]:
            floating-point numbers in [-1, 1], or whole numbers of 8, 16 or 32 bits.
        sample_rate_hz: of an array; a file says its own.
        target_rate_hz: the rate of what comes out.
        max_s: how long the sound of a file may be; see `neurips16.clients.media.limits`.

    Yields:
        float32 [B], of any lengths over 0.

    Raises:
        InvalidAudioError: it cannot be read or decoded, is cut off, empty, too long, or holds what is no sound.
        InvalidInputError: an array comes without its rate.
    """
    import soxr

    if isinstance(audio, np.ndarray):
        if sample_rate_hz is None:
            raise InvalidInputError("an array does not say its rate: give sample_rate_hz")
        rate, frames, where = sample_rate_hz, _array_blocks(audio), "the array"
    elif isinstance(audio, bytes):
        rate, frames, where = *_file_blocks(io.BytesIO(audio), "the sound", len(audio), max_sound_s(max_s)), "the sound"
    else:
        path = Path(audio)
        if not path.is_file():
            raise InvalidAudioError(f"{path} is {'no file' if path.exists() else 'not there'}")
        rate, frames, where = *_file_blocks(path, str(path), path.stat().st_size, max_sound_s(max_s)), str(path)
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise InvalidAudioError(f"{where} has {rate} samples a second, expected {RATES_HZ[0]} to {RATES_HZ[1]}")
    resampler = None if rate == target_rate_hz else soxr.ResampleStream(rate, target_rate_hz, 1, dtype="float32")
    for block in frames:
        mono = block.mean(axis=1, dtype=np.float32)
        _check(mono, where)
        if resampler is not None:
            mono = resampler.resample_chunk(mono)
        if len(mono):
            yield mono
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if len(rest):
            yield rest


def _check(mono: np.ndarray, where: str) -> None:
    peak = np.abs(mono).max(initial=0.0)
    if not np.isfinite(peak):
        raise InvalidAudioError(f"{where} holds samples that are not finite (NaN or infinity)")
    if peak > LOUDEST:
        raise InvalidAudioError(f"{where} reaches {peak:.4g}; floating-point samples lie in [-1, 1]: divide them")


def _array_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of an array, [frames, channels] each."""
    if array.ndim not in (1, 2) or array.size == 0:
        raise InvalidAudioError(f"the array has shape {list(array.shape)}, expected samples [T] or [T, channels]")
    if array.ndim == 2 and array.shape[1] > array.shape[0]:
        raise InvalidAudioError(
            f"the array has shape {list(array.shape)}: more channels than samples; expected [T, channels]"
        )
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise InvalidAudioError(f"the array holds {array.dtype}, expected floating-point or whole numbers")
    offset, scale = 0.0, 1.0
    if array.dtype.kind in "iu":
        scale = 2.0 ** (8 * array.dtype.itemsize - 1)
        offset = scale if array.dtype.kind == "u" else 0.0
    for start in range(0, len(array), BLOCK_FRAMES):
        part = array[start : start + BLOCK_FRAMES].astype(np.float64 if scale > 1 else array.dtype)
        yield ((part - offset) / scale).astype(np.float32).reshape(len(part), -1)


def _file_blocks(source: Path | io.BytesIO, where: str, size: int, most_s: float) -> tuple[int, Iterator[np.ndarray]]:
    """A file's rate, and its parts, [frames, channels] each. The file is opened now and read later."""
    import soundfile

    if size == 0:
        raise InvalidAudioError(f"{where} is empty: a file of 0 bytes")
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.SoundFileError, OSError) as error:
        raise InvalidAudioError(f"{where} cannot be read as audio: {_reason(error)}") from error

    def check(frames: int) -> None:
        if frames > most_s * file.samplerate:
            raise InvalidAudioError(
                f"{where} has {frames / file.samplerate:.0f} s of sound or more, the limit is {most_s:g} s: cut it up, "
                f"or set {SOUND_VARIABLE}"
            )

    if file.format in _EXACT_LENGTHS:  # before any of it is sent
        try:
            check(file.frames)
        except InvalidAudioError:
            file.close()
            raise

    def parts() -> Iterator[np.ndarray]:
        read, block = 0, min(BLOCK_FRAMES, max(1, BLOCK_SAMPLES // file.channels))
        with file:
            while True:
                try:
                    part = file.read(block, dtype="float32", always_2d=True)
                except soundfile.SoundFileError as error:
                    raise InvalidAudioError(
                        f"{where} is damaged or cut off after {read / file.samplerate:.2f} s: {_reason(error)}"
                    ) from error
                if not len(part):
                    break
                read += len(part)
                check(read)
                yield part
            if read < file.frames and file.format in _EXACT_LENGTHS:
                raise InvalidAudioError(
                    f"{where} is cut off: it holds {read / file.samplerate:.2f} s of the "
                    f"{file.frames / file.samplerate:.2f} s that it promises"
                )

    return file.samplerate, parts()


def _reason(error: Exception) -> str:
    """What libsndfile says, without the path that it repeats."""
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return text.removeprefix("Error").lstrip(" :")
