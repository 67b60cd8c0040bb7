from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.data.mnist.reader import read_mnist
from neurips16.training.metrics.judge import Judge, read_error


def test_a_judge_knows_real_images_and_is_the_same_each_time(mnist_folder):
    train, test = read_mnist(mnist_folder, "train"), read_mnist(mnist_folder, "test")
    first, second = Judge.fit(train), Judge.fit(train)
    named = first.classes(test.images)
    assert (named == test.labels).mean() > 0.9
    np.testing.assert_array_equal(named, second.classes(test.images))
    assert (first.classes(255 - test.images) == test.labels).mean() < 0.9  # it looks at the pixels


def test_features_that_say_the_class_are_read_and_others_are_not():
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=2000)
    telling = np.eye(10)[labels] * 100 + rng.normal(size=(2000, 10))  # of another scale: it is taken out
    silent = rng.normal(size=(2000, 10))
    assert read_error(telling[:1500], labels[:1500], telling[1500:], labels[1500:]) < 0.02
    error = read_error(silent[:1500], labels[:1500], silent[1500:], labels[1500:])
    assert error == pytest.approx(0.9, abs=0.06)
