"""The least loss of a deep linear network in closed form, and what the theorem assumes of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EIGENVALUE_GAP = 1e-9  # of the largest: what lies nearer together counts as equal


@dataclass(frozen=True)
class Data:
    """What the theorem knows of X [d_x, m] and Y [d_y, m].

    Attributes:
        total: tr Y Yᵀ, twice the loss of a network that says zero.
        eigenvalues: float64 [d_y], of Σ = Y Xᵀ (X Xᵀ)⁻¹ X Yᵀ, the largest first.
        directions: float64 [d_y, d_y], the eigenvectors as columns.
        regression: float64 [d_y, d_x], Y Xᵀ (X Xᵀ)⁻¹, the best single matrix.
        broken: the theorem's assumptions that do not hold, in words.
    """

    total: float
    eigenvalues: np.ndarray
    directions: np.ndarray
    regression: np.ndarray
    broken: tuple[str, ...]

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Data:
        """Where X Xᵀ is singular, its pseudo-inverse is taken: the least loss stays what it is."""
        outputs, inputs = len(y), len(x)
        regression = y @ np.linalg.pinv(x)
        fitted = regression @ x
        directions, singular, _ = np.linalg.svd(fitted, full_matrices=True)
        eigenvalues = np.zeros(outputs)
        eigenvalues[: len(singular)] = singular[:outputs] ** 2
        broken = []
        if (rank := int(np.linalg.matrix_rank(x))) < inputs:
            broken.append(f"X Xᵀ has rank {rank}, not {inputs}")
        if (rank := int(np.linalg.matrix_rank(x @ y.T))) < min(inputs, outputs):
            broken.append(f"X Yᵀ has rank {rank}, not {min(inputs, outputs)}")
        if outputs > inputs:
            broken.append(f"there are more outputs ({outputs}) than inputs ({inputs})")
        if outputs > 1 and -np.diff(eigenvalues).max() <= EIGENVALUE_GAP * eigenvalues[0]:
            broken.append("two eigenvalues of Y Xᵀ (X Xᵀ)⁻¹ X Yᵀ are equal")
        return cls(float((y**2).sum()), eigenvalues, directions, regression, tuple(broken))

    def least_loss(self, width: int) -> float:
        """Of networks whose narrowest hidden layer, if any, has ``width`` values."""
        return self.loss_of(range(min(width, len(self.eigenvalues))))

    def loss_of(self, kept: range | list[int]) -> float:
        """At a critical point that keeps the eigenvectors ``kept``."""
        return max(0.0, float(self.total - self.eigenvalues[list(kept)].sum()) / 2)

    def best_product(self, width: int) -> np.ndarray:
        """The product [d_y, d_x] of the weights at the global minimum."""
        top = self.directions[:, :width]
        return top @ top.T @ self.regression
