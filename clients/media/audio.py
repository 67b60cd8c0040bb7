"""Sounds as models take them: one channel, one rate, a block at a time, so that a long file needs little memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neurips16.clients.media.limits import SOUND_VARIABLE, max_sound_s
from neurips16.clients.media.sound_parts import CutOffError, sound_parts
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
    if isinstance(audio, np.ndarray):
        if sample_rate_hz is None:
            raise InvalidInputError("an array does not say its rate: give sample_rate_hz")
        where, parts = "the array", iter([(sample_rate_hz, _array_blocks(audio))])
    elif isinstance(audio, bytes):
        where = "the sound"
        parts = _file_parts(memoryview(audio), where, max_sound_s(max_s))
    else:
        where = str(audio)
        parts = _path_parts(Path(audio), max_sound_s(max_s))
    for rate, blocks in parts:
        if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
            raise InvalidAudioError(f"{where} has {rate} samples a second, expected {RATES_HZ[0]} to {RATES_HZ[1]}")
        yield from _resampled(rate, blocks, target_rate_hz, where)


def _resampled(rate: int, blocks: Iterator[np.ndarray], target_rate_hz: int, where: str) -> Iterator[np.ndarray]:
    import soxr

    resampler = None if rate == target_rate_hz else soxr.ResampleStream(rate, target_rate_hz, 1, dtype="float32")
    for block in blocks:
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


def _path_parts(path: Path, most_s: float) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    if not path.is_file():
        raise InvalidAudioError(f"{path} is {'no file' if path.exists() else 'not there'}")
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    except OSError as error:
        raise InvalidAudioError(f"{path} cannot be read as audio: {error.strerror}") from error
    yield from _file_parts(memoryview(data), str(path), most_s)


def _file_parts(data: memoryview, where: str, most_s: float) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """The parts of a file, one after the other: the rate of each, and its blocks, [frames, channels] each."""
    import soundfile

    class Forward(soundfile.SoundFile):
        """Read from its start to its end: soundfile would seek after each block, which FLAC does by looking about."""

        def seekable(self) -> bool:
            return False

    if not len(data):
        raise InvalidAudioError(f"{where} is empty: a file of 0 bytes")
    try:
        parts, is_bound = sound_parts(data)
    except CutOffError as error:
        raise InvalidAudioError(f"{where} is cut off: {error}") from error
    heard_s = 0.0  # of the parts before

    def check(seconds: float) -> None:
        if heard_s + seconds > most_s:
            raise InvalidAudioError(
                f"{where} has {heard_s + seconds:.0f} s of sound or more, the limit is {most_s:g} s: cut it up, or set "
                f"{SOUND_VARIABLE}"
            )

    for part in parts:
        try:
            file = Forward(part)
        except Exception as error:  # whatever the header makes libsndfile and its reader raise
            raise InvalidAudioError(f"{where} cannot be read as audio: {_reason(error)}") from error
        read = 0
        with file:
            is_exact = file.format in _EXACT_LENGTHS and not is_bound
            if is_exact:  # before any of it is sent
                check(file.frames / file.samplerate)
            block = min(BLOCK_FRAMES, max(1, BLOCK_SAMPLES // file.channels))

            def blocks(file=file, block=block, before_s=heard_s) -> Iterator[np.ndarray]:
                nonlocal read
                while True:
                    try:
                        samples = file.read(block, dtype="float32", always_2d=True)
                    except soundfile.SoundFileError as error:
                        raise InvalidAudioError(
                            f"{where} is damaged or cut off after {before_s + read / file.samplerate:.2f} s: "
                            f"{_reason(error)}"
                        ) from error
                    if not len(samples):
                        return
                    read += len(samples)
                    check(read / file.samplerate)
                    yield samples

            yield file.samplerate, blocks()
            if is_exact and read < file.frames:
                raise InvalidAudioError(
                    f"{where} is cut off: it holds {read / file.samplerate:.2f} s of the "
                    f"{file.frames / file.samplerate:.2f} s that it promises"
                )
            heard_s += read / file.samplerate


def _reason(error: Exception) -> str:
    """What libsndfile says, without the path that it repeats."""
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return text.removeprefix("Error").lstrip(" :")
