"""Exact mixing times: the table of the paper's examples, the theorem's bounds, and a chain that is seen through."""

from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.errors import InvalidModelError
from neurips16.training.systems.gibbs.chain import Chain
from neurips16.training.systems.gibbs.examples import example
from neurips16.training.systems.gibbs.mixing import (
    bounds,
    conductance,
    curve,
    lazy_time,
    named_orders,
    orders,
    random_time,
    systematic_time,
)
from neurips16.training.systems.gibbs.models import Potts, Table


@pytest.mark.parametrize(
    ("size", "random", "forward", "reverse"),
    [(4, 21, 4, 13), (8, 79, 8, 57), (16, 297, 16, 241), (32, 1140, 32, 993)],
)
def test_sequence_of_dependencies(size, random, forward, reverse):
    chain = Chain(example(f"sequence:{size}"))
    assert random_time(chain) == random
    assert systematic_time(chain, range(size)) == forward
    assert systematic_time(chain, range(size)[::-1]) == reverse == size * (size - 1) + 1


@pytest.mark.parametrize(
    ("size", "random", "block", "interleaved"), [(4, 63, 49, 34), (6, 238, 271, 134), (8, 877, 1425, 535)]
)
def test_two_islands(size, random, block, interleaved):
    chain = Chain(example(f"islands:{size}"))
    assert random_time(chain) == random
    assert systematic_time(chain, range(2 * size)) == block
    assert systematic_time(chain, named_orders(2 * size)["interleaved"]) == interleaved


@pytest.mark.parametrize(
    ("size", "random", "systematic"),
    [(4, 9, 8), (8, 20, 28), (12, 31, 68), (16, 42, 139), (24, 64, 405), (32, 87, 898)],
)
def test_discrete_pyramid(size, random, systematic):
    chain = Chain(example(f"pyramid:{size}"))
    assert random_time(chain) == random
    assert systematic_time(chain, range(size)) == systematic


@pytest.mark.parametrize(
    ("name", "random", "lazy"),
    [
        ("pyramid:4", 9, 17),
        ("pyramid:6", 14, 33),
        ("pyramid:8", 20, 57),
        ("sequence:4", 21, 18),
        ("sequence:6", 46, 27),
        ("islands:2", 12, 18),
        ("islands:3", 30, 43),
        ("islands:4", 63, 102),
    ],
)
def test_the_theorem_bounds_each_by_the_other(name, random, lazy):
    chain = Chain(example(name))
    assert (random_time(chain), lazy_time(chain, range(chain.variables))) == (random, lazy)
    first, second = bounds(chain, random, lazy)
    assert first.holds
    assert second.holds
    if name == "pyramid:8":
        assert [first.left, first.right, second.left] == pytest.approx([1.25, 23286, 3.5625], rel=1e-4)
        assert second.right == pytest.approx(2.94e6, rel=2e-3)


def test_times_are_those_of_a_walk_step_by_step():
    rng = np.random.default_rng(0)
    weights = np.triu(rng.normal(size=(4, 4)), 1)
    chain = Chain(Potts.binary(weights + weights.T, rng.normal(size=4)).table())
    order = [2, 0, 3, 1]
    for epsilon in (0.25, 0.01):
        rows, steps = chain.start, 0
        while chain.distance(rows) > epsilon:
            rows = chain.update(rows, order[steps % 4])
            steps += 1
        assert systematic_time(chain, order, epsilon) == steps
        rows, steps = chain.start, 0
        while chain.distance(rows) > epsilon:
            rows, steps = rows @ chain.random, steps + 1
        assert random_time(chain, epsilon) == steps


def test_an_update_is_the_conditional_distribution():
    model = Potts.of([[0, 1.5], [1.5, 0]], [[0.0, 1.0, -1.0], [0.2, 0.0, 0.4]])
    table = model.table()
    chain = Chain(table)
    place = {tuple(state): i for i, state in enumerate(table.states)}
    row = chain.update(np.eye(9)[[place[2, 1]]], 0)[0]
    weights = np.exp(np.array([0.0, 1.0, -1.0]) + 1.5 * np.array([0, 1, 0]))
    assert row[[place[k, 1] for k in range(3)]] == pytest.approx(weights / weights.sum())
    np.testing.assert_allclose(table.probabilities @ chain.random, table.probabilities)


def test_curves_cross_epsilon_at_the_mixing_time():
    chain = Chain(example("pyramid:8"))
    for order, time in ((None, 20), (range(8), 28)):
        steps, distances = curve(chain, order, 60)
        assert steps[np.argmax(distances <= 0.25)] == time
        assert (np.diff(distances) < 1e-12).all()
    steps, distances = curve(chain, range(8), 600, points=10)
    assert set(np.diff(steps)) == {64}
    assert distances[-1] < 1e-6


def test_best_and_worst_of_all_orders():
    chain = Chain(example("islands:3"))
    times = {order: systematic_time(chain, order) for order in orders(6, None)}
    assert len(times) == 720
    assert times[0, 3, 1, 4, 2, 5] == min(times.values()) == 16
    assert times[0, 1, 2, 3, 4, 5] == 19
    assert max(times.values()) == times[0, 1, 3, 4, 5, 2] == 21
    with pytest.raises(InvalidModelError, match="40320 orders"):
        list(orders(8, None))


def test_conductance_of_all_cuts_and_of_the_best_cut_along_an_eigenvector():
    chain = Chain(example("islands:2"))  # the bottleneck is the state of zeros
    found = conductance(chain.stationary, chain.random)
    island = np.array([0, 0, 0, 0, 1, 1, 1.0])
    flow = chain.stationary[:, None] * chain.random
    assert found.exact
    assert found.value == pytest.approx((island @ flow @ (1 - island)) / (island @ chain.stationary))
    big = Chain(example("islands:4"))
    bound = conductance(big.stationary, big.random)
    assert not bound.exact
    assert bound.value == pytest.approx(4 * (1 / 8) * 0.5 / 15)  # an island's 4 states of a single one


def test_what_cannot_be_analysed_is_refused():
    with pytest.raises(InvalidModelError, match=r"never lead from state \[0, 0\] to state \[1, 1\]"):
        Chain(Table.of([[0, 0], [1, 1]], [1, 1]))
    chain = Chain(example("pyramid:4"))
    with pytest.raises(InvalidModelError, match="names each of the variables"):
        systematic_time(chain, [0, 1, 2, 2])
    with pytest.raises(InvalidModelError, match="between 0 and 1"):
        random_time(chain, 0.0)
    with pytest.raises(InvalidModelError, match="leave it out"):
        lazy_time(Chain(example("islands:8")), range(16))
