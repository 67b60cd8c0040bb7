"""The served sampler: state for state the library's, in every scan."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from neurips16.export.graph.exporter import export_module
from neurips16.export.parity.check import check_parity
from neurips16.export.session import make_session
from neurips16.export.systems.gibbs.models import MOST_SWEEPS, gibbs_model
from neurips16.training.systems.gibbs.models import Potts
from neurips16.training.systems.gibbs.sampler import SCANS, sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    model = gibbs_model()
    path = tmp_path_factory.mktemp("gibbs") / "model.onnx"
    export_module(model.module, model.example_inputs, model.spec, path)
    check_parity(model.spec, model.module, path, model.cases).raise_if_failed()
    return path


@pytest.fixture(scope="module")
def run(path):
    session = make_session(path)
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(None, inputs), strict=True))


def request(scans, chains=8, variables=6, states=3, sweeps=40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    count = len(scans)
    upper = np.triu(rng.normal(size=(count, variables, variables)), 1)
    return {
        "couplings": upper + upper.transpose(0, 2, 1),
        "biases": rng.normal(size=(count, variables, states)),
        "scan": np.array(scans)[:, None],
        "order": np.stack([rng.permutation(variables) for _ in scans]),
        "start": rng.integers(0, states, (count, chains, variables)),
        "burn_in": np.arange(count)[:, None] * 3,
        "sweeps": np.arange(count)[:, None] * 5 + sweeps,
        "seed": np.arange(count)[:, None] + 11,
    }


def test_the_graph_is_the_library_state_for_state(run):
    inputs = request([0, 1, 2, 3])
    got = run(**inputs)
    for row, scan in enumerate(SCANS):
        want = sample(
            Potts.of(inputs["couplings"][row], inputs["biases"][row]),
            scan=scan,
            order=inputs["order"][row].tolist(),
            start=inputs["start"][row],
            burn_in=int(inputs["burn_in"][row, 0]),
            sweeps=int(inputs["sweeps"][row, 0]),
            seed=int(inputs["seed"][row, 0]),
        )
        np.testing.assert_array_equal(got["states"][row], want.states)
        np.testing.assert_array_equal(got["marginals"][row], want.marginals)
        np.testing.assert_allclose(got["effective_draws"][row], want.effective, rtol=1e-12)
    assert (got["states"] != inputs["start"]).any()


def test_a_row_draws_the_same_by_itself(run):
    inputs = request([3, 2, 1])
    together = run(**inputs)
    for row in range(3):
        alone = run(**{name: value[row : row + 1] for name, value in inputs.items()})
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], together[name][row])


def test_one_chain_has_no_spread_and_values_out_of_range_are_brought_in(run):
    inputs = request([0], chains=1)
    assert np.isnan(run(**inputs)["effective_draws"]).all()
    strange = {**inputs, "scan": np.array([[9]]), "start": inputs["start"] - 100, "sweeps": np.array([[0]])}
    sane = {**inputs, "scan": np.array([[3]]), "start": inputs["start"] * 0, "sweeps": np.array([[1]])}
    np.testing.assert_array_equal(run(**strange)["states"], run(**sane)["states"])


def test_a_variable_that_never_changes_is_worth_every_draw(run):
    inputs = request([0, 1, 2, 3])
    inputs["biases"][:, 2] = [0.0, 1e3, 0.0]
    got = run(**inputs)
    np.testing.assert_array_equal(got["marginals"][:, 2], [[0, 1, 0]] * 4)
    np.testing.assert_array_equal(got["effective_draws"][:, 2], 8.0 * inputs["sweeps"][:, 0])
    assert np.isfinite(got["effective_draws"]).all()


def test_the_whole_run_is_one_loop(path):
    assert [node.op_type for node in onnx.load(path).graph.node].count("Loop") == 1
    assert gibbs_model().spec.parameters["sweeps_range"] == f"1 {MOST_SWEEPS}"
    assert torch.is_tensor(gibbs_model().example_inputs["order"])
