"""How well examples are classified: accuracy, and which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def confusion_matrix(truth: Sequence[int], answers: Sequence[int], classes: int) -> np.ndarray:
    """Clips of each true class (row) that were given each class (column), int64 [C, C]."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth, int), np.asarray(answers, int)), 1)
    return matrix


def classification_metrics(labels: Sequence[str], truth: Sequence[int], answers: Sequence[int]) -> dict[str, float]:
    """``clips``, ``accuracy``, and for each class that occurs ``recall_CLASS``, the share of it that was recognised."""
    matrix = confusion_matrix(truth, answers, len(labels))
    found = {
        f"recall_{label.replace(' ', '_')}": float(row[i] / row.sum())
        for i, (label, row) in enumerate(zip(labels, matrix, strict=True))
        if row.sum()
    }
    return {"clips": len(truth), "accuracy": float(np.trace(matrix) / matrix.sum()), **found}
