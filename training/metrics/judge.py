"""An independent classifier that says what made-up images look like."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from neurips16.training.data.mnist.reader import LabelledImages

PASSES = 12


@dataclass(frozen=True)
class Judge:
    """Scikit-learn's perceptron with one hidden layer over pixels: it shares nothing with what it judges."""

    perceptron: MLPClassifier

    @classmethod
    def fit(cls, data: LabelledImages, *, seed: int = 0) -> Judge:
        """A judge that was fitted to the images of a training split."""
        return cls(fit_perceptron(_flat(data.images), data.labels, passes=PASSES, seed=seed))

    def classes(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 [N, H, W, C] to their classes int64 [N]."""
        return self.perceptron.predict(_flat(images))


def fit_perceptron(features: np.ndarray, labels: np.ndarray, *, passes: int, seed: int = 0) -> MLPClassifier:
    """A perceptron with 256 hidden units, which is what the disentangling paper reads its codes with.

    Args:
        features: float [N, F].
        labels: int [N].
        passes: over the data; few are enough, so that it has not converged is no fault.
        seed: of its weights and of the order.
    """
    perceptron = MLPClassifier((256,), max_iter=passes, batch_size=min(200, len(features)), random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return perceptron.fit(features, labels)


def read_error(
    known: np.ndarray, known_labels: np.ndarray, asked: np.ndarray, asked_labels: np.ndarray, *, passes: int = 30
) -> float:
    """The error with which a perceptron reads labels from features [N, F], fitted to ``known``, on ``asked``."""
    scaler = StandardScaler().fit(known)
    perceptron = fit_perceptron(scaler.transform(known), known_labels, passes=passes)
    return float((perceptron.predict(scaler.transform(asked)) != asked_labels).mean())


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255
