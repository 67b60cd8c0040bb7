"""Five everyday sounds made from nothing but noise and numbers: samples that ship, and that belong to nobody else.

    python deploy/demo/synthesise.py FOLDER

Writes clock_tick.ogg, rain.ogg, helicopter.ogg, sea_waves.ogg and crackling_fire.ogg, 6 s each at 32 kHz. They are
simple imitations: a model that was trained on recordings need not name all of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, sosfilt

RATE_HZ = 32_000
SECONDS = 6.0
TIME = np.arange(round(RATE_HZ * SECONDS)) / RATE_HZ


def main() -> None:
    """Write all five."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for make in (clock_tick, rain, helicopter, sea_waves, crackling_fire):
        sound = make(np.random.default_rng(16))
        path = folder / f"{make.__name__}.ogg"
        soundfile.write(path, 0.7 * sound / np.abs(sound).max(), RATE_HZ)
        print(path)  # noqa: T201


def clock_tick(rng: np.random.Generator) -> np.ndarray:
    """Two short knocks a second, alternately a little higher and lower, in a quiet room."""
    sound = 0.002 * rng.standard_normal(len(TIME))
    for beat in range(int(2 * SECONDS)):
        knock = ring(rng, pitch_hz=2600 if beat % 2 else 2100, seconds=0.02)
        add(sound, knock, beat / 2)
    return sound


def rain(rng: np.random.Generator) -> np.ndarray:
    """Broad noise, and a few thousand drops."""
    sound = band(rng.standard_normal(len(TIME)), 800, 12_000)
    for _ in range(3000):
        drop = rng.exponential(1.5) * ring(rng, pitch_hz=rng.uniform(2000, 9000), seconds=0.003)
        add(sound, drop, rng.uniform(0, SECONDS))
    return sound


def helicopter(rng: np.random.Generator) -> np.ndarray:
    """Blades that chop low noise eleven times a second."""
    beat = np.exp(-8 * ((11 * TIME) % 1))
    return beat * band(rng.standard_normal(len(TIME)), 40, 700) + 0.1 * band(rng.standard_normal(len(TIME)), 700, 5000)


def sea_waves(rng: np.random.Generator) -> np.ndarray:
    """Noise that swells and breaks, twice."""
    swell = 0.15 + (0.5 - 0.5 * np.cos(2 * np.pi * TIME / 3.0)) ** 3
    return swell * band(rng.standard_normal(len(TIME)), 150, 6000)


def crackling_fire(rng: np.random.Generator) -> np.ndarray:
    """A low rumble with crackles at random times, some loud."""
    sound = 0.05 * band(rng.standard_normal(len(TIME)), 40, 500)
    for _ in range(150):
        crackle = rng.pareto(2.0) * ring(rng, pitch_hz=rng.uniform(1500, 8000), seconds=0.002)
        add(sound, np.clip(crackle, -4, 4), rng.uniform(0, SECONDS))
    return sound


def ring(rng: np.random.Generator, pitch_hz: float, seconds: float) -> np.ndarray:
    """A decaying tone with some noise: a small thing that is struck."""
    time = np.arange(round(8 * seconds * RATE_HZ)) / RATE_HZ
    tone = np.sin(2 * np.pi * pitch_hz * time) + 0.3 * rng.standard_normal(len(time))
    return tone * np.exp(-time / seconds)


def add(sound: np.ndarray, part: np.ndarray, start_s: float) -> None:
    """Add ``part`` to ``sound`` in place; what lies beyond the end is lost."""
    start = round(start_s * RATE_HZ)
    sound[start : start + len(part)] += part[: len(sound) - start]


def band(noise: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Noise between two frequencies."""
    return sosfilt(butter(2, (low_hz, high_hz), "bandpass", fs=RATE_HZ, output="sos"), noise)


if __name__ == "__main__":
    main()
