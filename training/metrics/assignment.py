"""How well categories that were found without labels agree with labels."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def best_assignment(categories: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The one-to-one assignment of categories to labels that is right most often.

    Args:
        categories: int [N], 0 … count - 1.
        labels: int [N], 0 ….
        count: the number of categories.

    Returns:
        int [count], the label of each category; -1 for one that is left over.
    """
    table = np.zeros((count, int(labels.max()) + 1), np.int64)
    np.add.at(table, (categories, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    assigned = np.full(count, -1)
    assigned[rows] = columns
    return assigned


def assignment_error(categories: np.ndarray, labels: np.ndarray, assigned: np.ndarray) -> float:
    """The share of wrong labels under an assignment; a category that is left over is always wrong."""
    return float((assigned[categories] != labels).mean())
