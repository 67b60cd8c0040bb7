"""The squared loss ½‖W_K ⋯ W_1 X - Y‖² of a chain of matrices, with its gradient and its Hessian.

Weights are a sequence of K matrices W_k [d_k, d_{k-1}], X is [d_0, m], Y is [d_K, m]. The order of all parameters in a
vector or in the Hessian is W_1 row by row, then W_2, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from neurips16.training.errors import InvalidModelError

Weights = Sequence[np.ndarray]
STEP = 1e-30  # of a derivative along the imaginary axis, where nothing cancels


def check(weights: Sequence[Any], x: Any, y: Any) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The weights, X and Y in float64.

    Raises:
        InvalidModelError: their shapes do not fit, or a number is infinite or none.
    """
    try:
        arrays = [np.asarray(array, np.float64) for array in (*weights, x, y)]
    except (TypeError, ValueError) as error:
        raise InvalidModelError("weights and data are matrices of numbers") from error
    *chain, x, y = arrays
    if not chain or any(array.ndim != 2 or not array.size for array in arrays):
        raise InvalidModelError(f"weights and data are matrices, got shapes {[list(a.shape) for a in arrays]}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise InvalidModelError("weights or data hold a number that is infinite or none")
    widths = [x.shape[0], *(w.shape[0] for w in chain)]
    for k, weight in enumerate(chain):
        if weight.shape[1] != widths[k]:
            raise InvalidModelError(
                f"matrix {k + 1} takes {weight.shape[1]} values, what is before it gives {widths[k]}"
            )
    if y.shape != (widths[-1], x.shape[1]):
        raise InvalidModelError(f"the network makes [{widths[-1]}, {x.shape[1]}] of the data, Y is {list(y.shape)}")
    return chain, x, y


def product(weights: Weights, size: int) -> np.ndarray:
    """W_K ⋯ W_1; the identity of ``size`` if there are none."""
    return reduce(lambda right, left: left @ right, weights, np.eye(size))


def loss(weights: Weights, x: np.ndarray, y: np.ndarray) -> float:
    """Half the squared error, summed over everything."""
    return float(((product(weights, len(x)) @ x - y) ** 2).sum() / 2)


def gradient(weights: Weights, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Of the loss, a matrix for each of the weights. Complex weights give the gradient's analytic continuation."""
    before, after = _sides(weights, x)
    error = weights[-1] @ before[-1] - y
    return [left.T @ error @ right.T for left, right in zip(after, before, strict=True)]


def hessian(weights: Weights, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the loss, [P, P] for P parameters, block by block."""
    before, after = _sides(weights, x)
    error = weights[-1] @ before[-1] - y
    first = np.concatenate(
        [np.kron(left, right.T) for left, right in zip(after, before, strict=True)], 1
    )  # [d_K·m, P]: how each prediction moves
    matrix = first.T @ first
    starts = np.cumsum([0, *(w.size for w in weights)])
    for k in range(len(weights)):
        for later in range(k + 1, len(weights)):
            between = product(weights[k + 1 : later], len(weights[k]))
            outer = after[later].T @ error @ before[k].T  # [d_later, d_{k-1}]
            block = np.einsum("bc,ad->abcd", between, outer).reshape(weights[later].size, weights[k].size)
            rows, columns = slice(starts[later], starts[later + 1]), slice(starts[k], starts[k + 1])
            matrix[rows, columns] += block
            matrix[columns, rows] += block.T
    return (matrix + matrix.T) / 2


def hessian_product(weights: Weights, x: np.ndarray, y: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The Hessian times a direction [P], without the Hessian: the gradient along the imaginary axis."""
    moved = [w + 1j * STEP * d for w, d in zip(weights, split(direction, weights), strict=True)]
    return joined(gradient(moved, x, y)).imag / STEP


def joined(matrices: Weights) -> np.ndarray:
    """Matrices as one vector [P]."""
    return np.concatenate([matrix.ravel() for matrix in matrices])


def split(vector: np.ndarray, like: Weights) -> list[np.ndarray]:
    """A vector [P] as matrices of the shapes of ``like``."""
    parts = np.split(vector, np.cumsum([w.size for w in like])[:-1])
    return [part.reshape(w.shape) for part, w in zip(parts, like, strict=True)]


def _sides(weights: Weights, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each matrix what comes in, W_{k-1} ⋯ W_1 X, and what comes after, W_K ⋯ W_{k+1}."""
    before, after = [x], [np.eye(len(weights[-1]))]
    for weight in weights[:-1]:
        before.append(weight @ before[-1])
    for weight in weights[:0:-1]:
        after.append(after[-1] @ weight)
    return before, after[::-1]
