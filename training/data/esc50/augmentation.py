"""Variations of sounds for training: where a crop starts, how loud and how fast it is, and mixtures of two classes.

Mixing between classes follows Tokozume, Ushiku and Harada, *Learning from Between-class Examples for Deep Sound
Recognition* (ICLR 2018), equation 2: two sounds of different classes are added in a random ratio that accounts for how
loud each is, and the network learns the ratio. All else is each an option of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

QUIET = 1e-3  # an amplitude; what lies below it at a clip's ends is padding
_LEVEL_WINDOW_S = 0.1
_LOWEST_LEVEL_DB = -80.0


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training sound.

    Attributes:
        crop_s: seconds of a crop; 0 takes the clip as it is.
        speed: the largest factor on speed and pitch, up or down; 1 leaves them.
        gain_db: the largest change of level, up or down.
        flip: turn the sign of half the sounds.
        mix: share of the examples that are a mixture of two classes.
    """

    crop_s: float = 0.0
    speed: float = 1.0
    gain_db: float = 0.0
    flip: bool = False
    mix: float = 0.0

    def __post_init__(self) -> None:
        if not (self.crop_s >= 0 and self.speed >= 1 and self.gain_db >= 0 and 0 <= self.mix <= 1):
            raise ValueError(f"crop_s and gain_db are at least 0, speed at least 1, mix 0 to 1: got {self}")

    def vary(self, sound: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """One sound [T] cropped at a random place, and varied as the settings say."""
        length = round(self.crop_s * sample_rate_hz) or len(sound)
        factor = self.speed ** rng.uniform(-1, 1)
        needed = int(np.ceil(length * factor)) + 1 if self.speed > 1 else length
        sound = placed(trimmed(sound) if self.crop_s else sound, needed, rng)
        if self.speed > 1:  # linear interpolation: what it adds above the Nyquist frequency is part of the variation
            sound = np.interp(np.arange(length) * factor, np.arange(len(sound)), sound)
        gain = 10 ** (rng.uniform(-self.gain_db, self.gain_db) / 20)
        sign = -1.0 if self.flip and rng.random() < 0.5 else 1.0
        return (sound[:length] * (gain * sign)).astype(np.float32)


def trimmed(sound: np.ndarray) -> np.ndarray:
    """A sound without the silence at its ends; one that is all silence stays as it is."""
    heard = np.flatnonzero(np.abs(sound) > QUIET)
    return sound[heard[0] : heard[-1] + 1] if len(heard) else sound


def placed(sound: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """``length`` samples: a random part of a longer sound, or a shorter one at a random place in silence."""
    spare = len(sound) - length
    start = int(rng.integers(abs(spare) + 1))
    return sound[start : start + length] if spare >= 0 else np.pad(sound, (start, -spare - start))


def level_db(sound: np.ndarray, sample_rate_hz: int) -> float:
    """The level of a sound's loudest tenth of a second, in decibels."""
    window = max(1, round(_LEVEL_WINDOW_S * sample_rate_hz))
    windows = sound[: max(1, len(sound) // window) * window].reshape(-1, min(window, len(sound)))
    power = float(np.mean(windows.astype(np.float64) ** 2, axis=1).max())
    return max(_LOWEST_LEVEL_DB, 10 * np.log10(power + 1e-30))


def mixed(first: np.ndarray, second: np.ndarray, ratio: float, sample_rate_hz: int) -> np.ndarray:
    """Two sounds [T] in the perceived ratio ``ratio`` : 1 - ``ratio`` (between-class learning, equation 2)."""
    difference = level_db(first, sample_rate_hz) - level_db(second, sample_rate_hz)
    share = 1 / (1 + 10 ** (difference / 20) * (1 - ratio) / max(ratio, 1e-6))
    return ((share * first + (1 - share) * second) / np.sqrt(share**2 + (1 - share) ** 2)).astype(np.float32)
