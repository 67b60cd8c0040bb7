"""Draws by the shipped sampler: marginals of small models, the same draw for the same seed, and refusals."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def client():
    return LocalClient(ROOT / "serving/models")


@pytest.mark.parametrize("scan", ["systematic", "random", "shuffled", "lazy"])
def test_marginals_of_a_binary_model(client, scan):
    rng = np.random.default_rng(0)
    upper = np.triu(rng.normal(size=(4, 4)), 1)
    biases = rng.normal(size=4)
    states = np.array(list(product([0, 1], repeat=4)))
    weights = np.exp(states @ biases + np.einsum("si,ij,sj->s", states, upper, states))
    exact = weights @ states / weights.sum()
    drawn = client.draw_states(upper + upper.T, biases, scan=scan, chains=200, burn_in=20, sweeps=60)
    error = np.sqrt(exact * (1 - exact) / drawn.effective_draws)
    assert (abs(drawn.marginals[:, 1] - exact) < 4.5 * error).all()
    assert drawn.states.shape == (200, 4)


def test_the_same_seed_draws_the_same(client):
    model = {"couplings": np.zeros((3, 3)), "biases": np.zeros((3, 4)), "sweeps": 5}
    first, again, other = (client.draw_states(**model, seed=seed).states for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"couplings": np.ones((2, 2))}, "zeros on the diagonal"),
        ({"biases": np.zeros(3)}, r"got \[2, 2\] and \[3\]"),
        ({"biases": [np.inf, 0]}, "finite"),
        ({"scan": "odd"}, "one of systematic, random"),
        ({"order": [0, 0]}, "names each of"),
        ({"start": np.full((1, 2), 2)}, "states 0 … 1"),
        ({"sweeps": 0}, "sweeps lies in 1 …"),
    ],
)
def test_what_does_not_fit_is_refused(client, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        client.draw_states(**{"couplings": np.zeros((2, 2)), "biases": np.zeros(2), **changes})
