"""The paper's classifier: a linear SVM over the features of each time step, averaged over the clip (section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

_FOLDS = 4
_ITERATIONS = 5000


@dataclass(frozen=True)
class LinearScores:
    """``weight @ features + bias``, scaled so that a softmax over the clip's mean gives probabilities."""

    weight: np.ndarray  # float32 [C, D]
    bias: np.ndarray  # float32 [C]
    c: float  # the regularisation that was chosen
    accuracy: float  # in the cross-validation that chose it


def fit_svm(
    features: np.ndarray, weights: np.ndarray, labels: np.ndarray, classes: int, candidates: Sequence[float]
) -> LinearScores:
    """Fit one-against-the-rest SVMs to every step, choosing C and the scale by a cross-validation over clips.

    Args:
        features: [clips, S, D].
        weights: of the steps in a clip's mean, [clips, S].
        labels: int [clips].
        classes: C.
        candidates: values of C to choose from.

    Raises:
        ValueError: a class has fewer clips than the cross-validation has parts, or there is one class only.
    """
    counts = np.bincount(labels, minlength=classes)
    if classes < 2 or counts.min() < 2:
        raise ValueError(f"an SVM needs two classes and two clips of each, got {counts.tolist()} clips")
    parts = list(StratifiedKFold(min(_FOLDS, counts.min()), shuffle=True, random_state=0).split(labels, labels))
    scores = {}
    for c in candidates:
        held_out = np.empty((len(labels), classes))
        for train, test in parts:
            weight, bias = _fit(features[train], weights[train], labels[train], classes, c)
            held_out[test] = _clip_scores(features[test], weights[test], weight, bias)
        scores[c] = held_out
    accuracy = {c: float((held_out.argmax(1) == labels).mean()) for c, held_out in scores.items()}
    best = max(candidates, key=lambda c: (accuracy[c], -c))  # of equals, the smoothest
    scale = _scale(scores[best], labels)
    weight, bias = _fit(features, weights, labels, classes, best)
    return LinearScores((weight * scale).astype(np.float32), (bias * scale).astype(np.float32), best, accuracy[best])


def _fit(
    features: np.ndarray, weights: np.ndarray, labels: np.ndarray, classes: int, c: float
) -> tuple[np.ndarray, np.ndarray]:
    steps = features.shape[1]
    svm = LinearSVC(C=c, max_iter=_ITERATIONS, random_state=0, dual="auto")
    model = make_pipeline(StandardScaler(), svm)
    model.fit(
        features.reshape(-1, features.shape[2]), np.repeat(labels, steps), linearsvc__sample_weight=weights.ravel()
    )
    scaler = model[0]
    weight, bias = svm.coef_ / scaler.scale_, svm.intercept_
    if classes == 2:  # scikit-learn keeps one row for two classes
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    return weight, bias - weight @ scaler.mean_


def _clip_scores(features: np.ndarray, weights: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    steps = features @ weight.T + bias  # [clips, S, C]
    return (steps * weights[:, :, None]).sum(1) / weights.sum(1, keepdims=True)


def _scale(scores: np.ndarray, labels: np.ndarray) -> float:
    """The factor that makes the softmax of held-out scores as likely as it can be."""

    def loss(log_factor: float) -> float:
        return -float(log_softmax(scores * np.exp(log_factor), axis=1)[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))
