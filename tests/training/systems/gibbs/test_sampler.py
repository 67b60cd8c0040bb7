"""The sampler: marginals against enumeration and against an independent library, scans, effective draws."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neurips16.training.errors import InvalidModelError
from neurips16.training.noise import derive
from neurips16.training.systems.gibbs.models import Potts, Table, read_model
from neurips16.training.systems.gibbs.sampler import SCANS, effective_draws, sample


def potts(variables=5, states=3, seed=0) -> Potts:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(0, 0.6, (variables, variables)), 1)
    return Potts.of(upper + upper.T, rng.normal(0, 0.7, (variables, states)))


def marginals(table: Table, states: int) -> np.ndarray:
    return np.stack([table.probabilities @ (table.states == k) for k in range(states)], 1)


@pytest.mark.parametrize("scan", SCANS)
def test_marginals_are_those_of_enumeration(scan):
    model = potts()
    drawn = sample(model, scan=scan, chains=400, burn_in=40, sweeps=100, seed=3)
    exact = marginals(model.table(), 3)
    deviations = (drawn.marginals - exact) / np.sqrt(exact * (1 - exact) / drawn.effective[:, None])
    assert abs(deviations).max() < 4.5
    assert abs(drawn.marginals - exact).max() < 0.02


def test_a_binary_model_is_the_potts_model_of_two_states():
    rng = np.random.default_rng(1)
    upper = np.triu(rng.normal(size=(4, 4)), 1)
    weights, biases = upper + upper.T, rng.normal(size=4)
    table = Potts.binary(weights, biases).table()
    logs = table.states @ biases + np.einsum("si,ij,sj->s", table.states, upper, table.states)
    np.testing.assert_allclose(table.probabilities, np.exp(logs) / np.exp(logs).sum())


def test_scans_update_what_they_say():
    model = Potts.of(np.zeros((4, 4)), [[-50.0, 50.0]] * 4)  # an updated variable is 1
    zeros = np.zeros((200, 4), np.int64)
    options = {"start": zeros, "burn_in": 0, "sweeps": 1}
    assert (sample(model, scan="systematic", **options).states == 1).all()
    assert (sample(model, scan="shuffled", **options).states == 1).all()
    hit = sample(model, scan="random", **options).states.sum(1)
    assert hit.mean() == pytest.approx(4 * (1 - (3 / 4) ** 4), abs=0.25)
    lazy = sample(model, scan="lazy", order=[2, 0, 3, 1], **options).states
    assert lazy.sum(1).mean() == pytest.approx(2, abs=0.25)
    assert (np.diff(lazy[:, [2, 0, 3, 1]], axis=1) <= 0).all()  # only the first so many of the order


def test_the_same_seed_draws_the_same_and_another_does_not():
    first, again, other = (sample(potts(), seed=seed, sweeps=20, trace=True) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.trace, again.trace)
    assert (first.trace != other.trace).any()
    assert first.trace.shape == (64, 20, 5)
    np.testing.assert_array_equal(first.trace[:, -1], first.states)


def test_effective_draws_of_independent_draws_are_all_of_them():
    rng = np.random.default_rng(0)
    independent = rng.random((2000, 50)) < 0.3
    means = np.stack([1 - independent.mean(1), independent.mean(1)], 1)[:, None]
    assert effective_draws(means, 50)[0] == pytest.approx(100_000, rel=0.1)
    stuck = np.repeat(independent[:, :1], 50, 1)
    means = np.stack([1 - stuck.mean(1), stuck.mean(1)], 1)[:, None]
    assert effective_draws(means, 50)[0] == pytest.approx(2000, rel=0.02)
    mixing = np.array([[[0.4, 0.6]]])  # of one chain, which nothing is beside
    assert np.isnan(effective_draws(mixing, 50)[0])


def test_arviz_finds_as_many_effective_draws():
    arviz = pytest.importorskip("arviz", reason="arviz is not installed")
    upper = np.triu(np.full((4, 4), 0.9), 1)
    drawn = sample(Potts.of(upper + upper.T, np.zeros((4, 2))), chains=200, sweeps=500, trace=True)
    theirs = arviz.ess(drawn.trace[:, :, 0].astype(float), method="mean")
    assert drawn.effective[0] == pytest.approx(float(theirs), rel=0.25)


@pytest.mark.parametrize("chains", [1, 6])
def test_a_variable_that_never_changes_is_worth_every_draw_as_in_arviz(chains):
    arviz = pytest.importorskip("arviz", reason="arviz is not installed")
    held = Potts.of(np.zeros((2, 2)), np.array([[0.0, 1e3], [0.0, 0.0]]))
    drawn = sample(held, chains=chains, sweeps=40, trace=True)
    assert (drawn.trace[:, :, 0] == 1).all()
    assert drawn.effective[0] == chains * 40 == arviz.ess(drawn.trace[:, :, 0].astype(float))
    assert np.isnan(drawn.effective[1]) == (chains == 1)


def test_noise_is_the_same_for_arrays_and_tensors():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    seeds, counters = np.array([[0], [7], [2**31 - 1]]), np.arange(5)
    ours = derive(seeds, counters)
    assert ours.tolist() == derive(torch.tensor(seeds), torch.tensor(counters)).tolist()
    assert ours.min() >= 0
    assert ours.max() < 2**32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", "cannot be read as JSON"),
        ("{}", "expected an object of"),
        ({"couplings": [[0, 1], [2, 0]], "biases": [0, 0]}, "symmetric"),
        ({"couplings": [[0, 1], [1, 0]], "biases": [0, 0, 0]}, "3 biases need"),
        ({"couplings": [[0, "a"], [1, 0]], "biases": [0, 0]}, "expected numbers"),
        ({"states": [[0, 1], [0, 1]], "weights": [1, 1]}, "occurs twice"),
        ({"states": [[0, 1], [0, 0]], "weights": [1, 0]}, "leave out the states"),
        ({"couplings": [[0, 1e999], [1e999, 0]], "biases": [0, 0]}, "infinite"),
    ],
)
def test_a_file_that_says_no_model_is_refused(content, message, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InvalidModelError, match=message):
        read_model(path)


def test_files_of_all_three_kinds(tmp_path):
    path = tmp_path / "model.json"
    path.write_text('{"couplings": [[0, 1], [1, 0]], "biases": [0.5, -1]}')
    assert read_model(path).biases.tolist() == [[0, 1], [0, -0.5]]
    path.write_text('{"couplings": [[0, 1], [1, 0]], "biases": [[0, 1, 2], [0, 0, 0]]}')
    assert read_model(path).states == 3
    path.write_text('{"states": [[0, 1], [0, 0]], "weights": [3, 1]}')
    assert read_model(path).probabilities.tolist() == [0.75, 0.25]


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(InvalidModelError, match="no scan 'odd'"):
        sample(potts(), scan="odd")
    with pytest.raises(InvalidModelError, match="names each of the variables"):
        sample(potts(), order=[0, 1])
    with pytest.raises(InvalidModelError, match=r"5 columns of states 0 … 2"):
        sample(potts(), start=np.full((2, 5), 3))
    with pytest.raises(InvalidModelError, match="at least 1"):
        sample(potts(), sweeps=0)
