from __future__ import annotations

import pytest

from neurips16.training.metrics.classification import classification_metrics, confusion_matrix


def test_by_hand():
    truth, answers = [0, 0, 0, 1, 1], [0, 1, 0, 1, 0]
    assert confusion_matrix(truth, answers, 3).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    metrics = classification_metrics(["a dog", "rain", "sea"], truth, answers)
    assert metrics == {
        "clips": 5, "accuracy": pytest.approx(0.6), "recall_a_dog": pytest.approx(2 / 3), "recall_rain": 0.5,
    }  # fmt: skip
