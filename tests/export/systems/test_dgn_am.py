"""The ascent in the graph, held against autograd over whole trajectories."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from neurips16.export.graph.seeded_noise import normal
from neurips16.export.graph.weights import round_weights
from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import run_export
from neurips16.export.spec import read_spec
from neurips16.export.systems.dgn_am import FRAMES, MAX_STEPS, AscentModel, models

from ..generator_checkpoints import dgn_am, save


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(dgn_am(), tmp_path_factory.mktemp("dgn_am"))


@pytest.fixture(scope="module")
def path(checkpoint, mnist_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "models"
    (published,) = run_export("dgn_am", checkpoint, folder, data=mnist_folder)
    return published / "model.onnx"


def request(units, steps, seeds, step_size=0.5) -> dict[str, np.ndarray]:
    return {
        "unit": np.array(units)[:, None],
        "steps": np.array(steps)[:, None],
        "step_size": np.full((len(units), 1), step_size, np.float32),
        "seed": np.array(seeds)[:, None],
    }


def run(path, inputs) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.slow
def test_the_gate_compared_whole_trajectories(path):
    report = json.loads((path.parent / "parity.json").read_text())
    assert report["passed"]
    activations = report["runs"]["onnx"]["activations"]
    assert activations["compared"] == 6 * (MAX_STEPS + 1)
    assert activations["max_abs"] < 1e-3
    spec = read_spec(path)
    assert spec.parameters["steps_range"] == f"1 {MAX_STEPS}"
    assert spec.parameters["real_activations"] == "0.1 0.2 0.3 0.4"
    (loop,) = (node for node in onnx.load(path).graph.node if node.op_type == "Loop")
    assert loop.input


@pytest.mark.slow
def test_a_trajectory_is_that_of_autograd(path):
    network = round_weights(dgn_am())  # as the file has them
    inputs = request([2, 0], [40, 40], [5, 6])
    start = normal(torch.tensor([[5], [6]]), 10)
    want = network.ascend(start, torch.tensor([2, 0]), steps=40, step_size=0.5)
    got = run(path, inputs)
    np.testing.assert_allclose(got["activations"][:, :41], want.activations, rtol=1e-3, atol=1e-3)
    pixels = want.images.permute(0, 2, 3, 1).numpy() * 255
    assert abs(got["image"] - pixels).max() < 3
    assert (np.ptp(got["activations"][:, :41], axis=1) > 0.03).all()  # it was not a straight line that agreed


@pytest.mark.slow
def test_rows_with_other_steps_and_units_share_a_batch(path):
    units, steps, seeds = [0, 1, 2, 3], [1, 33, 80, 16], [9, 9, 4, 2]
    together = run(path, request(units, steps, seeds))
    for i, (unit, count, seed) in enumerate(zip(units, steps, seeds, strict=True)):
        alone = run(path, request([unit], [count], [seed]))
        np.testing.assert_allclose(together["activations"][i], alone["activations"][0], atol=1e-4)
        assert abs(together["frames"][i].astype(int) - alone["frames"][0]).max() <= 2
        assert (together["activations"][i, count:] == together["activations"][i, count]).all()
    assert together["frames"].shape == (4, FRAMES, 12, 12, 1)
    np.testing.assert_array_equal(together["frames"][:, -1], together["image"])


@pytest.mark.slow
def test_steps_beyond_the_range_are_not_made(path):
    most = run(path, request([1], [MAX_STEPS], [3]))
    over = run(path, request([1], [10**6], [3]))
    np.testing.assert_array_equal(most["activations"], over["activations"])


@pytest.mark.slow
def test_the_reference_evaluator_walks_the_same_way(path):
    from onnx.reference import ReferenceEvaluator

    inputs = request([1, 3], [6, 2], [7, 8])
    want = run(path, inputs)
    got = dict(zip(want, ReferenceEvaluator(onnx.load(path)).run(None, inputs), strict=True))
    np.testing.assert_allclose(got["activations"], want["activations"], atol=1e-4)
    assert abs(got["frames"].astype(int) - want["frames"]).max() <= 1


@pytest.mark.slow
def test_the_metrics_are_the_same_at_every_station(path, checkpoint, mnist_folder):
    evaluate = find_export("dgn_am").evaluate
    options = {"seeds": "1", "steps": "10"}
    before = evaluate(Target(checkpoint=checkpoint), mnist_folder, "test", options)
    assert before["ascents"] == 4
    assert before["preferred_activation"] > before["start_activation"]
    assert before["real_activation"] == pytest.approx(0.25)
    after = evaluate(Target(model=path), mnist_folder, "test", options)
    assert after == pytest.approx(before, rel=0.05, abs=0.05)


def test_torch_itself_follows_autograd_row_by_row():
    model = AscentModel(dgn_am())
    with torch.no_grad():
        answer = model(**{name: torch.from_numpy(value) for name, value in request([0, 1], [3, 5], [1, 2]).items()})
    assert answer["activations"].shape == (2, MAX_STEPS + 1)
    assert answer["frames"].dtype == torch.uint8


def test_the_spec_tells_clients_what_is_permitted(checkpoint):
    (exported,) = models(checkpoint, None)
    assert exported.spec.parameters["unit_range"] == "0 3"
    assert exported.spec.parameters["step_size_range"] == "0 100"
    assert exported.spec.parameters["step_size"] == "0.5"
