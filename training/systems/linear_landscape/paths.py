"""The paper's ReLU network: a sum over paths, each open or not by chance; in the mean it is a linear network.

The prediction for output i is ``q Σ_paths x · A · Π w`` with A 1 where the path is open. With every A one of the same
probability ρ, apart from X and W, its mean is ``q ρ W_K ⋯ W_1 X``, so the theorem for linear networks holds with the
data q ρ X.
"""

from __future__ import annotations

import numpy as np

from neurips16.training.systems.linear_landscape.network import Weights


def path_values(weights: Weights, x: np.ndarray) -> np.ndarray:
    """What each path carries, float64 [d_y, J, m]: an input times the weights along it, for J paths to each output."""
    carried = x.T[:, :, None]  # [m, d_0, J]: paths that end at each unit
    for weight in weights:
        onward = weight[None, :, :, None] * carried[:, None]  # [m, d_k, d_{k-1}, J]
        carried = onward.reshape(len(onward), len(weight), -1)
    return carried.transpose(1, 2, 0)


def draw_predictions(
    weights: Weights, x: np.ndarray, *, probability: float, normaliser: float = 1.0, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """Predictions float64 [draws, d_y, m] with paths open at random, each input column with paths of its own."""
    rng = np.random.default_rng(seed)
    values = path_values(weights, x)
    return np.stack([normaliser * ((rng.random(values.shape) < probability) * values).sum(1) for _ in range(draws)])


def relu_activity(weights: Weights, x: np.ndarray) -> np.ndarray:
    """Which paths a real ReLU network opens, bool [d_y, J, m], in the order of `path_values`; the output is linear."""
    open_, state = np.ones((x.shape[1], len(x), 1), bool), x
    for k, weight in enumerate(weights):
        state = weight @ state
        active = (state > 0).T if k < len(weights) - 1 else np.ones((x.shape[1], len(weight)), bool)
        onward = active[:, :, None, None] & open_[:, None]
        open_ = onward.reshape(len(onward), len(weight), -1)
        state = np.maximum(state, 0) if k < len(weights) - 1 else state
    return open_.transpose(1, 2, 0)
