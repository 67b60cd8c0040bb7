"""How well premises are chosen: pair accuracy, AMRR and recall over the whole library (DeepMath, section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from neurips16.training.data.deepmath.reader import Conjecture, Library
from neurips16.training.errors import DataError

RECALL_CUTOFFS = (16, 32, 64, 128, 256, 512, 1024)
_BLOCK_ROWS = 4096  # premises at a time: 4 MB of embeddings of width 256 stay in the cache


class Ranker(Protocol):
    """Whatever scores premises for a conjecture; a premise with a positive score is called useful."""

    def scores(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """Scores float [P] of the statements whose indices are ``premises`` [P]; higher is more useful."""


class SplitRanker:
    """Scores ``relu(conjecture + premise) · w + b`` from encoded statements.

    Args:
        conjectures: statement index of a conjecture -> its encoding [D].
        premises: encodings of all statements of the library, [S, D].
        output_weights: w and then b, [D + 1].
    """

    def __init__(self, conjectures: dict[int, np.ndarray], premises: np.ndarray, output_weights: np.ndarray):
        self._conjectures, self._premises = conjectures, premises
        self._weights, self._bias = output_weights[:-1], output_weights[-1]

    def scores(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        encoded = self._conjectures[conjecture.statement]
        out = np.empty(len(premises), np.float32)
        for start in range(0, len(premises), _BLOCK_ROWS):
            rows = self._premises[premises[start : start + _BLOCK_ROWS]] + encoded
            out[start : start + len(rows)] = np.maximum(rows, 0, out=rows) @ self._weights
        return out + self._bias


def pair_accuracy(conjectures: Iterable[Conjecture], ranker: Ranker) -> float:
    """The share of listed pairs, useful and useless, that fall on the right side of zero; a score of zero is wrong."""
    right = total = 0
    for conjecture in conjectures:
        for premises, sign in ((conjecture.useful, 1), (conjecture.useless, -1)):
            right += int((ranker.scores(conjecture, premises) * sign > 0).sum())
            total += len(premises)
    return right / total


def ranking_metrics(library: Library, conjectures: Sequence[Conjecture], ranker: Ranker) -> dict[str, float]:
    """AMRR and recall where a conjecture's candidates are all statements before it in library order.

    ``amrr`` is the mean over conjectures of max(rank of a useful premise) / number of candidates: 0 is perfect, and
    a tie counts against the ranking. ``recall_at_k`` is the mean share of the useful premises among the first k.

    Raises:
        DataError: the library order of a conjecture, or of a useful premise of it, is not known.
    """
    worst: list[float] = []
    recalls: list[list[float]] = []
    for conjecture in conjectures:
        if conjecture.statement >= library.ordered or conjecture.useful.max() >= conjecture.statement:
            raise DataError(
                f"conjecture {conjecture.name} or a premise of it has no place before it in library order: "
                "mizar40/statements(.used)(.xz) must list all statements"
            )
        scores = ranker.scores(conjecture, np.arange(conjecture.statement))
        ascending = np.sort(scores)
        ranks = len(scores) - np.searchsorted(ascending, scores[conjecture.useful], side="left")  # 1 is the best
        worst.append(ranks.max() / len(scores))
        recalls.append([float((ranks <= k).mean()) for k in RECALL_CUTOFFS])
    means = np.mean(recalls, axis=0)
    return {
        "amrr": float(np.mean(worst)),
        **{f"recall_at_{k}": float(m) for k, m in zip(RECALL_CUTOFFS, means, strict=True)},
    }
