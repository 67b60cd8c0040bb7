from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import run_export
from neurips16.export.spec import read_spec
from neurips16.export.systems.infogan import models, order_categories
from neurips16.training.data.mnist.reader import read_mnist

from ..generator_checkpoints import infogan, save


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(infogan(), tmp_path_factory.mktemp("infogan"))


@pytest.fixture(scope="module")
def repository(checkpoint, mnist_folder, tmp_path_factory):
    """The tiny network's two models, exported with every gate."""
    folder = tmp_path_factory.mktemp("export") / "models"
    published = run_export("infogan", checkpoint, folder, data=mnist_folder)
    assert [p.parent.name for p in published] == ["infogan", "infogan_encoder"]
    return folder


def requests(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "category": rng.integers(0, 4, (count, 1)),
        "continuous": rng.uniform(-2, 2, (count, 2)).astype(np.float32),
        "seed": rng.integers(0, 1000, (count, 1)),
    }


def session(repository, name="infogan") -> ort.InferenceSession:
    return ort.InferenceSession(repository / name / "1/model.onnx", providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_the_published_models_say_what_they_are(repository):
    spec = read_spec(repository / "infogan/1/model.onnx")
    assert spec.parameters["category_range"] == "0 3"
    assert spec.parameters["continuous_range"] == "-2 2"
    assert spec.parameters["categories"] == "4"
    assert spec.parameters["category_names"] == "0 1 2 3"
    encoder = read_spec(repository / "infogan_encoder/1/model.onnx")
    assert encoder.labels == {"category_probabilities": ("0", "1", "2", "3")}
    report = json.loads((repository / "infogan_encoder/1/parity.json").read_text())
    assert report["passed"]
    assert report["metrics"]["onnx"]["categorical_error"]["allowed_loss"] == 0.003


@pytest.mark.slow
def test_a_row_depends_on_its_own_codes_and_seed_alone(repository):
    run = session(repository)
    rows = requests(6)
    together = run.run(None, rows)[0]
    assert together.shape == (6, 12, 12, 1)
    for i in range(6):
        alone = run.run(None, {name: value[i : i + 1] for name, value in rows.items()})[0]
        assert abs(alone[0].astype(int) - together[i]).max() <= 1
    other = run.run(None, {**rows, "seed": rows["seed"] + 1})[0]
    assert (abs(other.astype(int) - together).reshape(6, -1).max(1) > 2).all()  # another seed, another image


@pytest.mark.slow
def test_what_is_out_of_range_is_taken_for_the_end_of_the_range(repository):
    run = session(repository)
    rows = requests(2)
    rows["category"], rows["continuous"] = np.array([[99], [-1]]), np.array([[9, -9], [0, 0]], np.float32)
    within = {**rows, "category": np.array([[3], [0]]), "continuous": np.array([[2, -2], [0, 0]], np.float32)}
    np.testing.assert_array_equal(run.run(None, rows)[0], run.run(None, within)[0])


@pytest.mark.slow
def test_other_runtimes_draw_the_same(repository):
    from onnx.reference import ReferenceEvaluator

    rows = requests(3)
    images = {"image": session(repository).run(None, rows)[0]}
    for name, inputs in (("infogan", rows), ("infogan_encoder", images)):
        path = repository / name / "1/model.onnx"
        want = session(repository, name).run(None, inputs)
        assert {node.domain for node in onnx.load(path).graph.node} == {""}
        for got, value in zip(ReferenceEvaluator(onnx.load(path)).run(None, inputs), want, strict=True):
            np.testing.assert_allclose(got.astype(float), value.astype(float), atol=1 if name == "infogan" else 1e-4)


@pytest.mark.slow
def test_the_error_is_the_same_at_every_station(repository, checkpoint, mnist_folder):
    evaluate = find_export("infogan").evaluate
    before = evaluate(Target(checkpoint=checkpoint), mnist_folder, "test", {})
    assert set(before) == {"images", "assigned_on", "categorical_error"}
    assert before["images"] == 40
    after = evaluate(Target(model=repository / "infogan/1/model.onnx"), mnist_folder, "test", {})
    assert after["categorical_error"] == pytest.approx(before["categorical_error"], abs=0.05)
    part = evaluate(Target(checkpoint=checkpoint), mnist_folder, "all", {"assign": "50"})
    assert (part["images"], part["assigned_on"]) == (160, 50)


def test_categories_are_put_into_the_order_of_their_labels(mnist_folder):
    data = read_mnist(mnist_folder, "train")
    network = infogan().eval()
    images = torch.tensor(data.images).permute(0, 3, 1, 2)
    noise = torch.rand(4, 6)

    def draw(categories):
        codes = torch.cat([noise, torch.eye(4)[categories], torch.zeros(4, 2)], 1)
        return network.generator(codes)

    with torch.no_grad():
        before, drawn = network.read(images)[0][0], draw(torch.arange(4))
        assert order_categories(network, data) == ("0", "1", "2", "3")
        after = network.read(images)[0][0]
        # The same permutation for both: category k of the reader and of the generator stayed together.
        order = [next(j for j in range(4) if torch.allclose(before[:, j], after[:, k])) for k in range(4)]
        assert sorted(order) == [0, 1, 2, 3]
        codes = torch.cat([noise[order], torch.eye(4), torch.zeros(4, 2)], 1)
        torch.testing.assert_close(network.generator(codes), drawn[order])
    found = after.argmax(1).numpy()
    identity = (found == data.labels).mean()
    from neurips16.training.metrics.assignment import assignment_error, best_assignment

    assert 1 - identity == pytest.approx(assignment_error(found, data.labels, best_assignment(found, data.labels, 4)))


def test_the_exported_layers_have_the_ranks_that_the_settings_state(tmp_path):
    path = save(infogan(exported_ranks=(6, 4)), tmp_path)
    generator, encoder = models(path, None)
    layers = [layer for layer in generator.module.generator if isinstance(layer, torch.nn.Sequential)]
    assert [layer[0].out_features for layer in layers] == [6]
    layers = [layer for layer in encoder.module.network.discriminator.trunk if isinstance(layer, torch.nn.Sequential)]
    assert [layer[0].out_features for layer in layers] == [4]


def test_other_kinds_of_codes_have_other_inputs(tmp_path):
    network = infogan(categorical=[], uniform=1, gaussian=2)
    generator, encoder = models(save(network, tmp_path), None)
    assert [t.name for t in generator.spec.inputs] == ["continuous", "seed"]
    assert generator.spec.parameters["continuous_range"] == "-4 4"
    assert [t.name for t in encoder.spec.outputs] == ["continuous"]
    answer = encoder.module(torch.zeros(2, 12, 12, 1, dtype=torch.uint8))
    assert answer["continuous"].shape == (2, 3)
    several, _ = models(save(infogan(categorical=[3, 5], uniform=0), tmp_path), None)
    assert [t.name for t in several.spec.inputs] == ["category", "seed"]
    assert several.spec.parameters["categories"] == "3 5"
