from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.data.deepmath.reader import Conjecture, Library
from neurips16.training.errors import DataError
from neurips16.training.metrics.premise_ranking import DotRanker, pair_accuracy, ranking_metrics


class Fixed:
    def __init__(self, scores):
        self._scores = np.array(scores, float)

    def scores(self, conjecture, premises):
        return self._scores[premises]

    logits = scores


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


def test_one_part_of_an_embedding_ranks_and_the_other_judges_pairs():
    rng = np.random.default_rng(0)
    premises, encoded = rng.normal(size=(6, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    conjecture = _library().conjectures[0]
    ranker = DotRanker({5: encoded}, premises, rank_size=3)
    places = np.array([4, 1])
    np.testing.assert_allclose(ranker.scores(conjecture, places), premises[places][:, :3] @ encoded[:3], rtol=1e-5)
    np.testing.assert_allclose(ranker.logits(conjecture, places), premises[places][:, 3:] @ encoded[3:], rtol=1e-5)
    assert ranker.scores(conjecture, np.empty(0, int)).shape == (0,)
