from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.data.deepmath.reader import Conjecture, Library
from neurips16.training.errors import DataError
from neurips16.training.metrics.premise_ranking import SplitRanker, pair_accuracy, ranking_metrics


class Fixed:
    def __init__(self, scores):
        self._scores = np.array(scores, float)

    def scores(self, conjecture, premises):
        return self._scores[premises]


def _library(ordered=6):
    conjecture = Conjecture("c", 5, np.array([0, 3]), np.array([1]))
    return Library([f"s{i}" for i in range(6)], ["p"] * 6, [conjecture], ordered)


def test_worked_ranking():
    library = _library()
    ranker = Fixed([4, 1, 3, 2, -1, 9])  # ranks of 0..4: 1, 4, 2, 3, 5; the conjecture itself is no candidate
    metrics = ranking_metrics(library, library.conjectures, ranker)
    assert metrics["amrr"] == pytest.approx(3 / 5)
    assert metrics["recall_at_16"] == 1.0
    assert pair_accuracy(library.conjectures, ranker) == pytest.approx(2 / 3)


def test_a_constant_ranker_gains_nothing_from_ties():
    library = _library()
    assert ranking_metrics(library, library.conjectures, Fixed([1.0] * 6))["amrr"] == 1.0
    assert pair_accuracy(library.conjectures, Fixed([0.0] * 6)) == 0.0


def test_recall_counts_the_first_k():
    conjecture = Conjecture("c", 39, np.array([0, 30]), np.array([1]))
    library = Library([str(i) for i in range(40)], ["p"] * 40, [conjecture], 40)
    metrics = ranking_metrics(library, [conjecture], Fixed(-np.arange(40.0)))
    assert metrics["recall_at_16"] == 0.5
    assert metrics["recall_at_32"] == 1.0


def test_an_unknown_library_order_is_an_error():
    library = _library(ordered=0)
    with pytest.raises(DataError, match="library order"):
        ranking_metrics(library, library.conjectures, Fixed([1.0] * 6))


def test_split_ranker_is_the_two_layer_predictor():
    rng = np.random.default_rng(0)
    premises, weights = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    encoded = rng.normal(size=4).astype(np.float32)
    conjecture = _library().conjectures[0]
    got = SplitRanker({5: encoded}, premises, weights).scores(conjecture, np.array([1, 4]))
    want = [np.maximum(premises[i] + encoded, 0) @ weights[:4] + weights[4] for i in (1, 4)]
    np.testing.assert_allclose(got, want, rtol=1e-6)
