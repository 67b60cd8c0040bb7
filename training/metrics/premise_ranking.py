"""How well premises are chosen: pair accuracy, AMRR and recall over the whole library (DeepMath, section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from neurips16.training.data.deepmath.reader import Conjecture, Library
from neurips16.training.errors import DataError

RECALL_CUTOFFS = (16, 32, 64, 128, 256, 512, 1024)


class Ranker(Protocol):
    """Whatever scores premises for a conjecture."""

    def scores(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """Scores float [P] of the statements whose indices are ``premises`` [P]; higher ranks first."""

    def logits(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """For the data's listed pairs, which look alike, float [P]: positive where the premise is called useful."""


class DotRanker:
    """Products of embeddings: the first ``rank_size`` numbers make the score, the others the logit.

    Args:
        conjectures: statement index of a conjecture -> its embedding [D].
        premises: embeddings of all statements of the library, [S, D].
        rank_size: how many numbers rank.
    """

    def __init__(self, conjectures: dict[int, np.ndarray], premises: np.ndarray, rank_size: int):
        self._conjectures, self._rank_size = conjectures, rank_size
        self._rank, self._pair = np.ascontiguousarray(premises[:, :rank_size]), premises[:, rank_size:]

    def scores(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        vector = self._conjectures[conjecture.statement][: self._rank_size]
        # The candidates are mostly all earlier statements: scoring those takes less than copying them.
        return (self._rank[: premises.max(initial=-1) + 1] @ vector)[premises]

    def logits(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        return self._pair[premises] @ self._conjectures[conjecture.statement][self._rank_size :]


def pair_accuracy(conjectures: Iterable[Conjecture], ranker: Ranker) -> float:
    """The share of listed pairs, useful and useless, that fall on the right side of zero; a logit of zero is wrong."""
    right = total = 0
    for conjecture in conjectures:
        for premises, sign in ((conjecture.useful, 1), (conjecture.useless, -1)):
            right += int((ranker.logits(conjecture, premises) * sign > 0).sum())
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
