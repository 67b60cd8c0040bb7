from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.systems.sound_classifier.svm import fit_svm


def _clips(classes: int, clips: int = 24, steps: int = 5):
    """Features [clips, steps, 6] whose first columns tell the class, on the loud steps only; the others are noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(clips) % classes
    features = rng.normal(0, 1, (clips, steps, 6)) * 10 + 40
    loud = rng.random((clips, steps)) < 0.6
    loud[:, 0] = True
    for clip, label in enumerate(labels):
        features[clip, loud[clip], label] += 60
    return features, np.where(loud, 1.0, 1e-6), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_it_finds_what_tells_the_classes(classes):
    features, weights, labels = _clips(classes)
    found = fit_svm(features, weights, labels, classes, [1e-4, 0.01])
    assert found.weight.shape == (classes, 6)
    assert found.weight.dtype == np.float32
    assert found.c in (1e-4, 0.01)
    assert found.accuracy > 0.9
    scores = features @ found.weight.T + found.bias
    clip = (scores * weights[:, :, None]).sum(1) / weights.sum(1, keepdims=True)
    assert (clip.argmax(1) == labels).mean() > 0.95
    likely = np.exp(clip - clip.max(1, keepdims=True))
    assert (likely / likely.sum(1, keepdims=True))[np.arange(len(labels)), labels].mean() > 0.7


def test_labels_that_say_nothing_give_even_probabilities():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(0, 1, (40, 3, 6)), np.arange(40) % 4
    found = fit_svm(features, np.ones((40, 3)), labels, 4, [0.01])
    clip = (features @ found.weight.T + found.bias).mean(1)
    likely = np.exp(clip) / np.exp(clip).sum(1, keepdims=True)
    assert found.accuracy < 0.6
    assert likely.max() < 0.6  # the scale was fitted to clips that the SVM had not seen


def test_too_few_clips():
    with pytest.raises(ValueError, match=r"got \[4, 1\] clips"):
        fit_svm(np.zeros((5, 2, 3)), np.ones((5, 2)), np.array([0, 0, 0, 0, 1]), 2, [1.0])
