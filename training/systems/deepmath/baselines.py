"""Baselines of premise selection that have no network: what is DeepMath's worth measured against?

``counts`` knows only how often a premise was useful and useless in training, not the conjecture: the count-based
predictor that the data set's authors name. ``knn`` is the standard method of the field: the premises of similar
conjectures, weighted by TF-IDF cosine similarity over symbols, and similar statements themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from neurips16.training.data.deepmath.reader import Conjecture, Library, normalise
from neurips16.training.data.deepmath.words import words
from neurips16.training.metrics.premise_ranking import Ranker

NEIGHBOURS = 128  # training conjectures that vote
TIE = 1e-9  # less than any difference of counts
OWN_WEIGHT = 1.0  # weight of a neighbour as a premise itself, beside 1 for each premise of its proof
_FUNCTOR_START = "abcdefghijklmnopqrstuvwxyz"


def symbols(statement: str) -> list[str]:
    """The functors of a statement: no variables, brackets or connectives."""
    return [word for word in words(normalise(statement)) if word[0] in _FUNCTOR_START]


class CountRanker:
    """The log ratio of a premise's useful and useless listings in the training split, add-one smoothed.

    A premise with as many of the one as of the other, or with none, is called useful.
    """

    def __init__(self, library: Library, training: Sequence[Conjecture]):
        useful, useless = (np.zeros(len(library.names)) for _ in range(2))
        for conjecture in training:
            useful[conjecture.useful] += 1
            useless[conjecture.useless] += 1
        self._scores = np.log((useful + 1) / (useless + 1)) + TIE

    def scores(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        return self._scores[premises]

    logits = scores


class NeighbourRanker:
    """Distance-weighted k nearest neighbours over TF-IDF vectors of symbols.

    A training conjecture that stands before the conjecture in library order votes with its similarity for the
    premises of its proof and for itself. Logits are scores less the pair threshold that is the best on the training
    split.
    """

    def __init__(self, library: Library, training: Sequence[Conjecture]):
        vectorizer = TfidfVectorizer(analyzer=symbols, sublinear_tf=True)
        self._vectors = vectorizer.fit_transform(library.statements).tocsr()
        self._training = sorted(training, key=lambda c: c.statement)
        self._rows = np.array([c.statement for c in self._training])
        self._neighbours = self._vectors[self._rows]
        self._size = len(library.names)
        sample = self._training[:: max(1, len(self._training) // 1000)]
        self._threshold = _best_threshold(self, sample)

    def scores(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        vector = self._vectors[conjecture.statement]
        earlier = int(np.searchsorted(self._rows, conjecture.statement))
        votes = (self._vectors @ vector.T).toarray().ravel() * 1e-3  # breaks ties among statements without a vote
        similarity = (self._neighbours[:earlier] @ vector.T).toarray().ravel()
        for i in np.argsort(-similarity, kind="stable")[:NEIGHBOURS]:
            neighbour = self._training[i]
            votes[neighbour.useful] += similarity[i]
            votes[neighbour.statement] += OWN_WEIGHT * similarity[i]
        return votes[premises]

    def logits(self, conjecture: Conjecture, premises: np.ndarray) -> np.ndarray:
        """See `Ranker`."""
        return self.scores(conjecture, premises) - self._threshold


BASELINES: dict[str, type[CountRanker] | type[NeighbourRanker]] = {"counts": CountRanker, "knn": NeighbourRanker}


def _best_threshold(ranker: Ranker, conjectures: Sequence[Conjecture]) -> float:
    """The score that separates useful from useless listed premises best."""
    scores = np.concatenate([ranker.scores(c, p) for c in conjectures for p in (c.useful, c.useless)])
    useful = np.concatenate([np.full(len(p), s) for c in conjectures for p, s in ((c.useful, 1), (c.useless, -1))])
    order = np.argsort(scores, kind="stable")
    # Right answers if everything above position i is called useful.
    right = (useful > 0).sum() - np.cumsum(useful[order])
    best = int(right.argmax())
    return float(scores[order[best]])
