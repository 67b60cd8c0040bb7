"""Served loss and gradient against the library, for chains of different lengths in one batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from neurips16.export.graph.exporter import export_module
from neurips16.export.parity.check import check_parity
from neurips16.export.session import make_session
from neurips16.export.systems.linear_landscape.models import LAYERS, landscape_model
from neurips16.training.systems.linear_landscape.network import gradient, loss

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    model = landscape_model()
    path = tmp_path_factory.mktemp("landscape") / "model.onnx"
    export_module(model.module, model.example_inputs, model.spec, path)
    check_parity(model.spec, model.module, path, model.cases).raise_if_failed()
    return make_session(path)


def test_chains_of_any_length_share_a_batch(session):
    rng = np.random.default_rng(0)
    chains = [[5, 3], [4, 2, 3], [3, 5, 1, 4]]
    x, y = np.zeros((2, 3, 5, 12))
    packed = np.zeros((3, LAYERS, 5, 5)) + np.eye(5)
    want = []
    for row, widths in enumerate(chains):
        weights = [rng.normal(size=(b, a)) for a, b in pairwise(widths)]
        own_x, own_y = rng.normal(size=(widths[0], 12)), rng.normal(size=(widths[-1], 12))
        x[row, : widths[0]], y[row, : widths[-1]] = own_x, own_y
        for k, weight in enumerate(weights):
            packed[row, k] = 0
            packed[row, k, : weight.shape[0], : weight.shape[1]] = weight
        want.append((loss(weights, own_x, own_y), gradient(weights, own_x, own_y)))
    losses, slopes = session.run(None, {"x": x, "y": y, "weights": packed})
    for row, (value, matrices) in enumerate(want):
        assert losses[row, 0] == pytest.approx(value, rel=1e-12)
        for k, matrix in enumerate(matrices):
            found = slopes[row, k, : matrix.shape[0], : matrix.shape[1]]
            np.testing.assert_allclose(found, matrix, rtol=1e-10, atol=1e-9)
            assert abs(found).max() > 0.1
