"""The command on torch files, ONNX files and drawn weights: a saddle is classified, and its way down leads down."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
import typer
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from neurips16.export.analysis.landscape import landscape
from neurips16.export.analysis.networks import read_network
from neurips16.training.errors import InvalidModelError
from neurips16.training.systems.linear_landscape.network import loss, split


@pytest.fixture
def ask():
    app = typer.Typer()
    app.command()(landscape)

    def run(*words):
        result = CliRunner().invoke(app, [*map(str, words)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.output) if "--json" in words else result.output

    return run


@pytest.fixture
def worked(tmp_path):
    """The data of the worked rows, samples in rows."""
    path = tmp_path / "data.npz"
    np.savez(path, x=np.eye(2), y=np.diag([3.0, 1.0]))
    return path


def save_chain(path, matrices, op="Gemm", **changes):
    """An ONNX chain with samples in rows."""
    nodes, name = [], "x"
    for k in range(len(matrices)):
        attributes = {"transB": 1} if op == "Gemm" else {}
        nodes.append(helper.make_node(op, [name, f"w{k}"], [f"h{k}"], **attributes))
        name = f"h{k}"
    nodes += changes.get("more", [])
    stored = [numpy_helper.from_array(m if op == "Gemm" else m.T.copy(), f"w{k}") for k, m in enumerate(matrices)]
    value = lambda n, size: helper.make_tensor_value_info(n, TensorProto.DOUBLE, ["m", size])  # noqa: E731
    end = nodes[-1].output[0]
    graph = helper.make_graph(
        nodes, "chain", [value("x", matrices[0].shape[1])], [value(end, len(matrices[-1]))], stored
    )
    onnx.save(helper.make_model(graph), path)
    return path


def test_a_saddle_in_a_torch_file_and_its_way_down(ask, worked, tmp_path):
    matrices = [np.diag([0.0, 1.0])] * 3
    path, way = tmp_path / "net.pt", tmp_path / "way.npy"
    torch.save({f"{k}.weight": torch.tensor(m) for k, m in enumerate(matrices)}, path)
    found = ask(path, "--data", worked, "--direction", way, "--json")
    assert found["kind"] == "strict saddle"
    assert (found["loss"], found["least_loss"], found["kept_eigenvectors"]) == (4.5, 0.0, [1])
    assert found["least_curvature"] == pytest.approx(-2)
    moved = [w + 0.3 * d for w, d in zip(matrices, split(np.load(way), matrices), strict=True)]
    assert loss(moved, np.eye(2), np.diag([3.0, 1.0])) < 4.5
    text = ask(path, "--data", worked)
    assert text.startswith("strict saddle: loss 4.5, the least is 0")
    assert "negative curvature" in text


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_the_bad_saddle_in_an_onnx_file(ask, worked, tmp_path, op):
    path = save_chain(tmp_path / "net.onnx", [np.diag([3 ** (1 / 3), 0.0])] * 3, op)
    found = ask(path, "--data", worked, "--json", "--picture", tmp_path / "surface.png")
    assert (found["kind"], found["way_down"]) == ("bad saddle", True)
    assert found["gap"] == pytest.approx(0.5)
    assert np.asarray(Image.open(tmp_path / "surface.png")).std() > 10


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch of its own constructor
def test_what_torch_exports_is_read(tmp_path):
    torch.manual_seed(0)
    chain = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.Linear(3, 2, bias=False)).eval()
    path = tmp_path / "net.onnx"
    torch.onnx.export(chain, (torch.zeros(2, 4),), path, dynamo=True, verbose=False, external_data=False)
    for got, want in zip(read_network(str(path)), chain.state_dict().values(), strict=True):
        np.testing.assert_array_equal(got, want.double().numpy())


def test_drawn_weights_of_an_autoencoder_are_nowhere(ask, tmp_path):
    data = tmp_path / "points.npy"
    np.save(data, np.random.default_rng(0).normal(size=(30, 4)))
    found = ask("random:4,2,4", "--data", data, "--json", "--seed", 3)
    assert found["kind"] == "not critical"
    assert found["widths"] == [4, 2, 4]
    assert found["gap"] > 0
    assert "against the gradient" in ask("random:4,2,4", "--data", data)


def test_what_is_no_linear_chain_is_refused_by_the_name_of_its_operator(ask, worked, tmp_path):
    relu = [helper.make_node("Relu", ["h0"], ["r"], name="activation")]
    path = save_chain(tmp_path / "net.onnx", [np.eye(2)], more=relu)
    with pytest.raises(InvalidModelError, match=r"uses Relu \(activation\)"):
        ask(path, "--data", worked)
    biased = tmp_path / "biased.pt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), biased)
    with pytest.raises(InvalidModelError, match="bias is a bias, of which"):
        ask(biased, "--data", worked)
    with pytest.raises(InvalidModelError, match="the network takes 3 values, x in"):
        ask("random:3,2", "--data", worked)
    with pytest.raises(InvalidModelError, match="widths are numbers"):
        ask("random:3", "--data", worked)
    with pytest.raises(InvalidModelError, match="cannot be read as"):
        ask("random:2,2", "--data", tmp_path / "no.npz")
