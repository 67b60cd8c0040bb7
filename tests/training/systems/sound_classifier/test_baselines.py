from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.data.esc50.reader import read_sound_set
from neurips16.training.systems.sound_classifier.baselines import (
    BASELINES,
    CEPSTRA,
    MELS,
    cross_validated,
    log_mel,
    mel_filters,
)

RATE = 22_050


def test_filters_cover_the_band_and_rise_to_one():
    filters = mel_filters()
    assert filters.shape == (MELS, 513)
    assert filters.max() <= 1
    assert (filters.argmax(1)[1:] >= filters.argmax(1)[:-1]).all()
    inside = slice(filters[0].argmax() + 1, filters[-1].argmax())
    np.testing.assert_allclose(filters.sum(0)[inside], 1, atol=1e-6)  # neighbours share what lies between them


def test_a_tone_is_loudest_in_its_own_band():
    time = np.arange(RATE) / RATE
    centres = mel_filters().argmax(1) * RATE / 1024
    for pitch in (300.0, 2000.0, 8000.0):
        frames = log_mel(0.5 * np.sin(2 * np.pi * pitch * time))
        assert frames.shape[1] == MELS
        assert centres[frames[5:-5].mean(0).argmax()] == pytest.approx(pitch, rel=0.08, abs=25)
    assert np.isfinite(log_mel(np.zeros(10))).all()


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_tells_tones_clicks_and_noise_apart(sound_folder, name):
    sounds = read_sound_set(sound_folder)
    pairs = cross_validated(name, sounds)
    assert [clip for clip, _ in pairs] == list(sounds.clips)
    assert np.mean([clip.label == found for clip, found in pairs]) > 0.8
    assert CEPSTRA < MELS
