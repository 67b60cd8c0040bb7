from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.data.esc50.augmentation import Augmentation, level_db, mixed, placed, trimmed

RATE = 22_050


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_nothing_asked_for_changes_nothing():
    sound = rng().normal(0, 0.1, 5000).astype(np.float32)
    np.testing.assert_array_equal(Augmentation().vary(sound, RATE, rng()), sound)


def test_crops_have_their_length_and_lie_within_what_is_heard():
    sound = np.zeros(5 * RATE, np.float32)
    sound[RATE : 3 * RATE] = np.linspace(0.1, 0.2, 2 * RATE)
    generator, starts = rng(), set()
    for _ in range(20):
        crop = Augmentation(crop_s=1.0).vary(sound, RATE, generator)
        assert crop.shape == (RATE,)
        assert crop.min() >= 0.1  # not of the silence around it
        starts.add(float(crop[0]))
    assert len(starts) > 10
    longer = Augmentation(crop_s=4.0).vary(sound, RATE, rng())
    assert longer.shape == (4 * RATE,)
    assert np.count_nonzero(longer) == 2 * RATE  # all of it, at some place in silence


def test_speed_changes_pitch_within_its_bounds():
    tone = np.sin(2 * np.pi * 500 * np.arange(4 * RATE) / RATE).astype(np.float32)
    generator = rng()
    pitches = []
    for _ in range(30):
        crop = Augmentation(crop_s=1.0, speed=1.25).vary(tone, RATE, generator)
        assert crop.shape == (RATE,)
        pitches.append(np.abs(np.fft.rfft(crop)).argmax())  # of 1 s: hertz
    assert min(pitches) >= 399
    assert max(pitches) <= 626
    assert max(pitches) - min(pitches) > 100


def test_gain_and_sign():
    sound = np.full(1000, 0.1, np.float32)
    generator = rng()
    gains = [Augmentation(gain_db=6, flip=True).vary(sound, RATE, generator)[0] / 0.1 for _ in range(50)]
    assert min(gains) < 0 < max(gains)
    assert 0.5 < min(map(abs, gains)) < 0.7
    assert 1.5 < max(map(abs, gains)) < 2.0


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_mixtures_are_heard_in_their_ratio(ratio):
    """Equation 2: the levels of the two parts differ as r and 1 - r do, however loud the sounds were."""
    first, second = rng().normal(0, 0.5, RATE), np.random.default_rng(1).normal(0, 0.01, RATE)
    together = mixed(first, second, ratio, RATE)
    parts = np.linalg.lstsq(np.stack([first, second], axis=1), together, rcond=None)[0]
    heard = [level_db(part * sound, RATE) for part, sound in zip(parts, (first, second), strict=True)]
    assert heard[0] - heard[1] == pytest.approx(20 * np.log10(ratio / (1 - ratio)), abs=0.2)


def test_levels():
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert level_db(tone, RATE) == pytest.approx(-3.01, abs=0.05)
    late = np.concatenate([np.zeros(RATE), 0.1 * tone])
    assert level_db(late, RATE) == pytest.approx(-23.01, abs=0.1)
    assert level_db(np.zeros(RATE), RATE) == level_db(np.zeros(3), RATE) == -80


def test_ends():
    sound = np.array([0, 0, 1, 0, 1, 0], np.float32)
    assert trimmed(sound).tolist() == [1, 0, 1]
    assert trimmed(np.zeros(3)).tolist() == [0, 0, 0]
    assert sorted({len(placed(sound, length, rng())) for length in (2, 6, 9)}) == [2, 6, 9]


@pytest.mark.parametrize("wrong", [{"speed": 0.9}, {"mix": 1.5}, {"crop_s": -1.0}, {"gain_db": -3.0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match="speed at least 1, mix 0 to 1"):
        Augmentation(**wrong)
