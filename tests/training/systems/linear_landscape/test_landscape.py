"""The eight worked rows, derivatives, the closed form against optimisation, the theorem at random critical points."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from neurips16.training.errors import InvalidModelError
from neurips16.training.systems.linear_landscape import classification
from neurips16.training.systems.linear_landscape.classification import classify
from neurips16.training.systems.linear_landscape.minimum import Data
from neurips16.training.systems.linear_landscape.network import (
    gradient,
    hessian,
    hessian_product,
    joined,
    loss,
    product,
    split,
)
from neurips16.training.systems.linear_landscape.paths import draw_predictions, path_values, relu_activity

X, Y = np.eye(2), np.diag([3.0, 1.0])
O, I, E2 = np.zeros((2, 2)), np.eye(2), np.diag([0.0, 1.0])  # noqa: E741
C = np.diag([3 ** (1 / 3), 0.0])
ROOT = np.sqrt(3)


@pytest.mark.parametrize(
    ("weights", "value", "eigenvalues", "kind", "kept"),
    [
        ([O, O], 5, [-3, -3, -1, -1, 1, 1, 3, 3], "strict saddle", ()),
        ([np.zeros((1, 2)), np.zeros((2, 1))], 5, [-3, -1, 1, 3], "strict saddle", ()),
        ([[[ROOT, 0]], [[ROOT], [0]]], 0.5, [0, 2, 4, 6], "global minimum", (0,)),
        ([[[0, 1]], [[0], [1]]], 4.5, [-2, 0, 2, 4], "strict saddle", (1,)),
        ([O, O, O], 5, [0] * 12, "bad saddle", ()),
        ([O, I, O], 5, [-3, -3, -1, -1, 0, 0, 0, 0, 1, 1, 3, 3], "strict saddle", ()),
        ([E2, E2, E2], 4.5, [-2, *[0] * 9, 3, 4], "strict saddle", (1,)),
        ([C, C, C], 0.5, [*[0] * 9, 2.884, 5.769, 12.98], "bad saddle", (0,)),
    ],
)
def test_the_worked_rows(weights, value, eigenvalues, kind, kept):
    point = classify(weights, X, Y)
    assert point.loss == pytest.approx(value)
    np.testing.assert_allclose(point.eigenvalues, eigenvalues, atol=6e-3 if 12.98 in eigenvalues else 1e-9)
    assert (point.kind, point.kept) == (kind, kept)
    assert point.data.broken == ()
    assert point.obeys_theorem
    if kind.endswith("saddle"):
        weights = [np.array(w, float) for w in weights]
        down = [w + 0.3 * d for w, d in zip(weights, split(point.way_down, weights), strict=True)]
        assert loss(down, X, Y) < value


def test_the_rank_condition_of_item_four_is_one_way():
    assert classify([O, I, O], X, Y).predicted_strict
    point = classify([E2, E2, E2], X, Y)
    assert (point.rank, point.width, point.predicted_strict, point.kind) == (1, 2, False, "strict saddle")
    assert not classify([C, C, C], X, Y).predicted_strict


def network(widths, seed, size=1.0):
    rng = np.random.default_rng(seed)
    weights = [size * rng.normal(size=pair) for pair in zip(widths[1:], widths[:-1], strict=True)]
    x = rng.normal(size=(widths[0], 20))
    return weights, x, rng.normal(size=(widths[-1], widths[0])) @ x + 0.3 * rng.normal(size=(widths[-1], 20))


def test_derivatives_are_those_of_central_differences_and_of_complex_steps():
    weights, x, y = network([4, 3, 2, 3], 0)
    flat, rng = joined(weights), np.random.default_rng(1)
    numeric = [
        (loss(split(flat + 1e-5 * e, weights), x, y) - loss(split(flat - 1e-5 * e, weights), x, y)) / 2e-5
        for e in np.eye(len(flat))
    ]
    np.testing.assert_allclose(joined(gradient(weights, x, y)), numeric, rtol=1e-6, atol=1e-5)
    direction = rng.normal(size=len(flat))
    np.testing.assert_allclose(
        hessian(weights, x, y) @ direction, hessian_product(weights, x, y, direction), rtol=1e-10, atol=1e-9
    )


@pytest.mark.parametrize("hidden", [[3, 3], [2, 2], [1, 3]])
def test_optimisation_reaches_the_closed_form_from_every_start(hidden):
    widths = [4, *hidden, 3]
    _, x, y = network(widths, 0)
    data = Data.of(x, y)
    for start in range(6):
        weights, _, _ = network(
            widths, start + 1, 0.2
        )  # small starts, as in practice: L-BFGS may get lost from large ones
        found = minimize(
            lambda v: (loss(split(v, weights), x, y), joined(gradient(split(v, weights), x, y))),  # noqa: B023
            joined(weights),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "ftol": 0, "gtol": 1e-8},
        )
        assert found.fun == pytest.approx(data.least_loss(min(hidden)), abs=1e-5)
        reached = product(split(found.x, weights), 4)
        np.testing.assert_allclose(reached, data.best_product(min(hidden)), atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(2, 4),
    st.integers(1, 3),
    st.data(),
)
def test_critical_points_of_any_index_set_obey_the_theorem(seed, hidden, inputs, outputs, draw):
    """Points that keep any eigenvectors of the data are critical; balanced weights of any rank make them."""
    outputs = min(outputs, inputs)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(inputs, 12))
    y = rng.normal(size=(outputs, inputs)) @ x + rng.normal(size=(outputs, 12))
    data = Data.of(x, y)
    assume(min(-np.diff(data.eigenvalues, append=0.0)) > 1e-3 * data.total)  # far over what counts as equal
    kept = draw.draw(st.lists(st.sampled_from(range(outputs)), unique=True, max_size=min(*hidden, outputs)))
    basis = data.directions[:, sorted(kept)]  # [d_y, r]
    count = len(kept)
    frames = [np.linalg.qr(rng.normal(size=(width, width)))[0][:, :count] for width in hidden]
    weights = [frames[0] @ basis.T @ data.regression]
    weights += [after @ before.T for before, after in pairwise(frames)]
    weights.append(basis @ frames[-1].T)
    point = classify(weights, x, y)
    assert point.kind != "not critical"
    assert set(point.kept) == set(kept)
    assert point.loss == pytest.approx(data.loss_of(list(kept)), abs=1e-8)
    best = set(kept) == set(range(min(*hidden, outputs)))
    assert (point.kind == "global minimum") == best
    assert point.obeys_theorem


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=0, max_size=3))
def test_elsewhere_the_gradient_leads_down(seed, hidden):
    weights, x, y = network([3, *hidden, 2], seed)
    point = classify(weights, x, y)
    assert point.kind == "not critical"
    moved = [w + 1e-6 * d for w, d in zip(weights, split(point.way_down, weights), strict=True)]
    assert loss(moved, x, y) < point.loss
    assert point.loss > point.least_loss


def test_a_large_network_has_the_same_extreme_eigenvalues(monkeypatch):
    weights, x, y = network([6, 5, 4], 3)
    dense = classify(weights, x, y)
    monkeypatch.setattr(classification, "LARGEST_HESSIAN", 10)
    sparse = classify(weights, x, y)
    np.testing.assert_allclose(sparse.eigenvalues, dense.eigenvalues[[0, -1]], rtol=1e-8, atol=1e-6)


def test_broken_assumptions_are_named():
    x = np.ones((2, 3))
    assert Data.of(x, np.ones((1, 3))).broken == ("X Xᵀ has rank 1, not 2",)
    broken = Data.of(np.eye(2), np.eye(2)).broken
    assert broken == ("two eigenvalues of Y Xᵀ (X Xᵀ)⁻¹ X Yᵀ are equal",)
    assert "more outputs (3) than inputs (2)" in Data.of(np.eye(2), np.arange(6.0).reshape(3, 2) ** 2).broken[0]
    assert "X Yᵀ has rank 0" in Data.of(np.array([[1.0, -1.0]]), np.array([[1.0, 1.0]])).broken[0]


def test_shapes_that_do_not_fit_are_refused():
    for weights, x, y, message in (
        ([O], np.ones((3, 2)), Y, "matrix 1 takes 2 values, what is before it gives 3"),
        ([O], X, np.ones((3, 2)), r"the network makes \[2, 2\]"),
        ([np.zeros(2)], X, Y, "are matrices"),
        ([O * np.nan], X, Y, "infinite or none"),
        ([], X, Y, "are matrices"),
    ):
        with pytest.raises(InvalidModelError, match=message):
            classify(weights, x, y)


def test_random_paths_are_a_linear_network_in_the_mean():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 2)), rng.normal(size=(2, 3)), rng.normal(size=(2, 2))]
    x = rng.normal(size=(2, 5))
    np.testing.assert_allclose(path_values(weights, x).sum(1), product(weights, 2) @ x)
    drawn = draw_predictions(weights, x, probability=0.3, normaliser=2.0, draws=4000)
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert (abs(drawn.mean(0) - 2.0 * 0.3 * product(weights, 2) @ x) < 4.5 * error).all()
    relu = weights[2] @ np.maximum(weights[1] @ np.maximum(weights[0] @ x, 0), 0)
    np.testing.assert_allclose((relu_activity(weights, x) * path_values(weights, x)).sum(1), relu)
