"""The worked rows through the shipped model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError

X, Y = np.eye(2), np.diag([3.0, 1.0])


@pytest.fixture(scope="module")
def client():
    return LocalClient(Path(__file__).parents[4] / "serving/models")


@pytest.mark.parametrize(
    ("weights", "loss", "least"),
    [
        ([[[0, 1]], [[0], [1]]], 4.5, 0.5),
        ([np.diag([3 ** (1 / 3), 0.0])] * 3, 0.5, 0.0),
        ([np.zeros((2, 2))], 5.0, 0.0),
    ],
)
def test_worked_rows(client, weights, loss, least):
    point = client.linear_landscape(weights, X, Y)
    assert (point.loss, point.least_loss) == pytest.approx((loss, least), abs=1e-9)
    assert [g.shape for g in point.gradient] == [np.shape(w) for w in weights]
    critical = len(weights) > 1
    assert (max(abs(g).max() for g in point.gradient) < 1e-9) == critical


def test_what_does_not_fit_is_refused(client):
    with pytest.raises(InvalidInputError, match="do not fit"):
        client.linear_landscape([np.zeros((2, 3))], X, Y)
    with pytest.raises(InvalidInputError, match="8 matrices at most"):
        client.linear_landscape([np.eye(2)] * 9, X, Y)
