"""What a point of the loss surface is, whether the theorem's statements hold there, and where it goes down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse.linalg

from neurips16.training.systems.linear_landscape.minimum import Data
from neurips16.training.systems.linear_landscape.network import (
    Weights,
    check,
    gradient,
    hessian,
    hessian_product,
    joined,
    loss,
    product,
    split,
)

NOT_CRITICAL, GLOBAL_MINIMUM = "not critical", "global minimum"
STRICT_SADDLE, BAD_SADDLE = "strict saddle", "bad saddle"
TOLERANCE = 1e-7  # relative to the size of the numbers at hand
LARGEST_HESSIAN = 1500  # parameters; beyond, only its extreme eigenvalues are sought
_TRIES, _RADII = 400, (1.0, 0.3, 0.1, 0.03, 0.01)


@dataclass(frozen=True)
class Point:
    """A point of the loss surface.

    Attributes:
        kind: one of the four names above.
        loss, least_loss: here, and at the global minimum.
        gradient_size: the largest derivative.
        eigenvalues: of the Hessian, the least first: all of them, or the two extreme ones of a large network.
        lowest, highest: unit vectors [P] of the extreme eigenvalues.
        kept: which eigenvectors of the data a critical point keeps, the largest eigenvalue's being 0; None elsewhere.
        rank, width: of W_H ⋯ W_2, and the narrowest hidden layer.
        predicted_strict: item 4 of the theorem says that a saddle here has a negative eigenvalue.
        way_down: unit vector [P] along which the loss falls; None at a global minimum, or if none was found.
        data: what the theorem knows of X and Y.
    """

    kind: str
    loss: float
    least_loss: float
    gradient_size: float
    eigenvalues: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    kept: tuple[int, ...] | None
    rank: int
    width: int
    predicted_strict: bool
    way_down: np.ndarray | None
    data: Data

    @property
    def obeys_theorem(self) -> bool:
        """Whether what was found contradicts no statement of the theorem.

        A critical point that is not a global minimum must have a way down, and, where item 4 says so, a negative
        eigenvalue; its loss must be that of the eigenvectors that it keeps.
        """
        if self.kind == NOT_CRITICAL:
            return True
        scale = TOLERANCE * 10 * max(1.0, self.data.total)
        if self.kind == GLOBAL_MINIMUM:
            return self.eigenvalues[0] >= -scale
        if self.kept is not None and abs(self.data.loss_of(list(self.kept)) - self.loss) > scale:
            return False
        return self.way_down is not None and not (self.predicted_strict and self.kind == BAD_SADDLE)


def classify(weights: Weights, x: np.ndarray, y: np.ndarray, *, tolerance: float = TOLERANCE, seed: int = 0) -> Point:
    """Say what a point is.

    Args:
        weights: of the chain, the first layer's first.
        x: [d_x, m].
        y: [d_y, m].
        tolerance: below which, relative to the data's size, derivatives, gaps and eigenvalues count as zero.
        seed: of the directions that are tried at a bad saddle.

    Raises:
        InvalidModelError: the shapes do not fit, or a number is infinite or none.
    """
    weights, x, y = check(weights, x, y)
    data = Data.of(x, y)
    scale = max(1.0, data.total)
    width = min((len(w) for w in weights[:-1]), default=min(len(x), len(y)))
    here, slope = loss(weights, x, y), joined(gradient(weights, x, y))
    least = data.least_loss(width)
    values, vectors = _curvature(weights, x, y, len(slope))
    middle = product(weights[1:-1], len(weights[0]))
    rank = int(np.linalg.matrix_rank(middle))
    steep = float(np.abs(slope).max())
    kept, way_down = None, None
    if steep > tolerance * scale:
        kind, way_down = NOT_CRITICAL, -slope / np.linalg.norm(slope)
    else:
        kept = _kept(data, product(weights, len(x)) @ x)
        if here - least <= tolerance * scale:
            kind = GLOBAL_MINIMUM
        elif values[0] < -tolerance * scale:
            kind, way_down = STRICT_SADDLE, vectors[:, 0]
        else:
            kind = BAD_SADDLE
            flat = vectors[:, np.abs(values) <= 1e3 * tolerance * scale]
            way_down = _search(weights, x, y, here, flat, np.random.default_rng(seed))
    return Point(
        kind=kind,
        loss=here,
        least_loss=least,
        gradient_size=steep,
        eigenvalues=values,
        lowest=vectors[:, 0],
        highest=vectors[:, -1],
        kept=kept,
        rank=rank,
        width=width,
        predicted_strict=len(weights) > 1 and rank == width,
        way_down=way_down,
        data=data,
    )


def _curvature(weights: Weights, x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size <= LARGEST_HESSIAN:
        return np.linalg.eigh(hessian(weights, x, y))
    operator = scipy.sparse.linalg.LinearOperator(
        (size, size), matvec=lambda v: hessian_product(weights, x, y, v.ravel()), dtype=np.float64
    )
    start = np.random.default_rng(0).normal(size=size)
    values, vectors = scipy.sparse.linalg.eigsh(operator, k=2, which="BE", v0=start)
    return values, vectors


def _kept(data: Data, prediction: np.ndarray) -> tuple[int, ...]:
    """Which eigenvectors are kept: along the others a critical point's prediction is zero."""
    lengths = ((data.directions.T @ prediction) ** 2).sum(1)
    return tuple(int(i) for i in np.flatnonzero(lengths > data.eigenvalues / 2) if data.eigenvalues[i] > 0)


def _search(
    weights: Weights, x: np.ndarray, y: np.ndarray, here: float, flat: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """A direction among the flat ones along which the loss falls at a higher order than the second."""
    if not flat.shape[1]:
        return None
    for radius in _RADII:
        drawn = flat @ rng.normal(size=(flat.shape[1], _TRIES))
        drawn /= np.linalg.norm(drawn, axis=0)
        losses = [
            loss([w + radius * d for w, d in zip(weights, split(v, weights), strict=True)], x, y) for v in drawn.T
        ]
        best = int(np.argmin(losses))
        if losses[best] < here * (1 - 1e-12):
            return drawn[:, best]
    return None
