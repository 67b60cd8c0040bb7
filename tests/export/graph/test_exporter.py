from __future__ import annotations

import dataclasses
import logging
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper
from torch import nn

from neurips16.export.errors import ExportError, OperatorError, SignatureError
from neurips16.export.graph.exporter import call_by_name, export_module
from neurips16.export.graph.signature import check_signature, dims_of
from neurips16.export.graph.weights import LARGE_WEIGHT, round_weights
from neurips16.export.spec import DEFAULT_OPSET, EXACT, ModelSpec, Op, TensorSpec, Tolerance, read_spec
from neurips16.training.ops import non_max_suppression

CLOSE = Tolerance(1e-5, 1e-6, "sums")


def run(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


def simple_spec(*outputs: TensorSpec, **changes) -> ModelSpec:
    """x FP32 [N, L] to the given outputs, or to y FP32 [N, L]."""
    fields = {
        "name": "simple",
        "system": "none",
        "summary": "",
        "inputs": (TensorSpec("x", "FP32", ("N", "L"), ""),),
        "outputs": outputs or (TensorSpec("y", "FP32", ("N", "L"), "", tolerance=CLOSE),),
        "max_batch_size": 4,
        "paper": "none",
    }
    return ModelSpec(**{**fields, **changes})


class Calls(nn.Module):
    """A module around a function of keywords."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, **tensors: torch.Tensor):
        return self.function(**tensors)


X = {"x": torch.arange(6.0).reshape(2, 3)}


class TestTranslations:
    """Of what torch's exporter cannot translate, in models that have no operator of ours."""

    def test_a_stable_sort(self, tmp_path) -> None:
        def order(x):
            return x.sort(dim=1, descending=True, stable=True).values

        path = export_module(Calls(order), X, simple_spec(), tmp_path / "model.onnx")
        x = np.float32([[1, 3, 3, 2], [5, 0, 7, 7]])
        np.testing.assert_array_equal(run(path, x=x)["y"], -np.sort(-x, axis=1))

    def test_non_maximum_suppression(self, tmp_path) -> None:
        boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])

        def kept(x):
            scores = x[:, None, :]
            return non_max_suppression(boxes.expand(x.shape[0], -1, -1), scores, 0.5, 0.0)[:, 0].float()

        spec = simple_spec(
            TensorSpec("y", "FP32", ("N", 3), "", tolerance=CLOSE), inputs=(TensorSpec("x", "FP32", ("N", 3), ""),)
        )
        path = export_module(Calls(kept), {"x": torch.rand(2, 3)}, spec, tmp_path / "model.onnx")
        got = run(path, x=np.float32([[0.5, 0.9, 0.1], [0.9, 0.5, -1.0], [0.1, 0.2, 0.3]]))["y"]
        assert got.tolist() == [[0, 1, 1], [1, 0, 0], [0, 1, 1]]


class TestSavedFile:
    def test_tensors_types_and_axes_are_the_specification_s(self, tiny) -> None:
        model = onnx.load(tiny.path)
        assert [(v.name, dims_of(v)) for v in model.graph.input] == [("text", ("N", "L"))]
        assert [(v.name, dims_of(v)) for v in model.graph.output] == [
            ("embedding", ("N", 4)),
            ("count", ("N", 1)),
            ("density", ("N", 1)),
        ]
        assert check_signature(model, tiny.spec) == []

    def test_versions_are_pinned(self, tiny) -> None:
        model = onnx.load(tiny.path)
        assert model.ir_version == tiny.spec.ir_version
        assert [(o.domain, o.version) for o in model.opset_import] == [("", tiny.spec.opset)]

    def test_it_carries_its_specification(self, tiny) -> None:
        assert read_spec(tiny.path) == tiny.spec

    def test_it_is_one_file_without_notes_on_the_machine(self, tiny) -> None:
        assert [p.name for p in tiny.path.parent.iterdir()] == ["model.onnx"]
        content = tiny.path.read_bytes()
        assert str(Path(__file__).parent).encode() not in content
        assert b"site-packages" not in content
        assert b"stack_trace" not in content

    def test_an_inner_value_may_have_an_output_s_name(self, tiny) -> None:
        # The Embedding layer's value is called "embedding" by torch, as our first output is by us.
        model = onnx.load(tiny.path)
        written = [name for node in model.graph.node for name in node.output]
        assert len(written) == len(set(written))
        assert "embedding.inner" in written

    def test_exporting_says_nothing_and_gives_the_same_bytes(self, tiny, tmp_path, capfd, caplog) -> None:
        again = export_module(tiny.module, tuple(tiny.example.values()), tiny.spec, tmp_path / "again.onnx")
        out, err = capfd.readouterr()
        assert (out, err) == ("", "")
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO] == []
        assert again.read_bytes() == tiny.path.read_bytes()


class TestRefusals:
    def test_training_mode(self, tiny, tmp_path) -> None:
        module = nn.Sequential(nn.Linear(2, 2)).eval()
        module[0].train()
        with pytest.raises(ExportError, match=r"call module\.eval"):
            export_module(module, X, simple_spec(), tmp_path / "m.onnx")

    def test_examples_that_do_not_fit_are_all_listed(self, tmp_path) -> None:
        spec = simple_spec(
            inputs=(TensorSpec("x", "FP32", ("N", "L"), ""), TensorSpec("z", "INT64", ("N", 3), "", optional=True))
        )
        example = {"x": torch.zeros(1, 5, dtype=torch.float64), "z": torch.zeros(2, 4, dtype=torch.int64)}
        with pytest.raises(SignatureError) as error:
            export_module(Calls(lambda x, z: x), example, spec, tmp_path / "m.onnx")
        for part in ("expected float32", "axis 0 (N) is 1 long", "axis 1 is 4 long, expected 3", "'z' is optional"):
            assert part in str(error.value)

    @pytest.mark.parametrize("example", [{"y": torch.zeros(2, 2)}, (torch.zeros(2, 2),) * 2])
    def test_examples_of_other_names_or_number(self, example, tmp_path) -> None:
        with pytest.raises(SignatureError, match="the specification"):
            export_module(Calls(lambda x: x), example, simple_spec(), tmp_path / "m.onnx")

    def test_an_axis_that_turns_constant(self, tmp_path) -> None:
        def baked(x: torch.Tensor) -> torch.Tensor:
            return x + torch.zeros(len(x.tolist()), 1)

        with pytest.raises(ExportError, match="static shape of 2"):
            export_module(Calls(baked), X, simple_spec(), tmp_path / "m.onnx")
        assert not (tmp_path / "m.onnx").exists()

    def test_every_axis_that_differs_is_named(self, tmp_path) -> None:
        spec = simple_spec(
            TensorSpec("shorter", "FP32", ("N", "L"), "", tolerance=CLOSE),
            TensorSpec("mean", "FP32", ("N", "K"), "", tolerance=CLOSE),
            TensorSpec("free", "FP32", ("N", 3), "", tolerance=CLOSE),
            TensorSpec("whole", "INT64", ("N", "M"), "", tolerance=EXACT),
        )

        def function(x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"shorter": x[:, 1:], "mean": x.mean(1, keepdim=True), "free": x + 1, "whole": x.round()}

        with pytest.raises(SignatureError) as error:
            export_module(Calls(function), X, spec, tmp_path / "m.onnx")
        for part in (
            "'shorter': axis 1 is declared 'L', but the graph computes 'L - 1'",
            "'mean': axis 1 became constant (1), the specification names it 'K'",
            "'free': axis 1 is 'L', the specification fixes it at 3",
            "'whole': axis 1 is declared 'M', but the graph makes it equal to 'L'",
            "'whole': the type is FLOAT, the specification says INT64",
        ):
            assert part in str(error.value)
        assert not (tmp_path / "m.onnx").exists()

    def test_outputs_of_other_names_or_number(self) -> None:
        with pytest.raises(SignatureError, match="returns z; the specification says y"):
            call_by_name(Calls(lambda x: {"z": x}), X, ["y"])
        with pytest.raises(SignatureError, match="returns 2 tensors"):
            call_by_name(Calls(lambda x: (x, x)), X, ["y"])


class TestOwnOperators:
    """An operator of a domain of our own: opaque in torch's graph, a function body in the file."""

    @pytest.fixture
    def spec(self, monkeypatch) -> ModelSpec:
        import onnxscript

        @torch.library.custom_op("neurips16_test::twice", mutates_args=())
        def twice(x: torch.Tensor) -> torch.Tensor:
            return x * 2

        twice.register_fake(torch.empty_like)
        schema = onnx.defs.OpSchema(
            "Twice",
            "neurips16_test",
            1,
            inputs=[onnx.defs.OpSchema.FormalParameter("x", "T")],
            outputs=[onnx.defs.OpSchema.FormalParameter("y", "T")],
            type_constraints=[("T", ["tensor(float)"], "")],
        )
        domain = onnxscript.values.Opset("neurips16_test", 1)
        node = onnxscript.values.Op(domain, "Twice", op_schema=schema)
        body = helper.make_function(
            "neurips16_test",
            "Twice",
            ["x"],
            ["y"],
            [helper.make_node("Add", ["x", "x"], ["y"])],
            [helper.make_opsetid("", DEFAULT_OPSET)],
        )
        fake = types.SimpleNamespace()
        fake.custom_translation_table = lambda: {torch.ops.neurips16_test.twice.default: node}
        fake.function_bodies = lambda names, opset: [body for name in names if name == "Twice"]
        monkeypatch.setattr("neurips16.export.graph.exporter.ops", fake)
        return simple_spec(custom_ops=(Op("neurips16_test", "Twice"),))

    def test_body_attached_and_inlined(self, spec, tmp_path) -> None:
        module = Calls(lambda x: torch.ops.neurips16_test.twice(x) + 1)
        value = np.float32([[1, 2]])

        attached = export_module(module, X, spec, tmp_path / "attached.onnx")
        model = onnx.load(attached)
        assert ("neurips16_test", "Twice") in {(n.domain, n.op_type) for n in model.graph.node}
        assert [(f.domain, f.name) for f in model.functions] == [("neurips16_test", "Twice")]
        assert run(attached, x=value)["y"].tolist() == [[3, 5]]

        inlined = export_module(module, X, spec, tmp_path / "inlined.onnx", inline=True)
        model = onnx.load(inlined)
        assert {n.domain for n in model.graph.node} == {""}
        assert not model.functions
        assert [o.domain for o in model.opset_import] == [""]
        assert read_spec(inlined).custom_ops == ()
        assert run(inlined, x=value)["y"].tolist() == [[3, 5]]

    def test_the_graph_and_the_specification_name_the_same_operators(self, spec, tmp_path) -> None:
        module = Calls(lambda x: torch.ops.neurips16_test.twice(x) + 1)
        declares_more = dataclasses.replace(spec, custom_ops=(*spec.custom_ops, Op("neurips16_test", "Missing")))
        with pytest.raises(OperatorError, match=r"uses the operators neurips16_test::Twice, .* names .*::Missing"):
            export_module(module, X, declares_more, tmp_path / "m.onnx")
        assert not (tmp_path / "m.onnx").exists()

    def test_a_body_of_another_opset_is_refused(self, spec, tmp_path) -> None:
        module = Calls(lambda x: torch.ops.neurips16_test.twice(x) + 1)
        with pytest.raises(OperatorError, match=f"have opset .{DEFAULT_OPSET}., the model has 18"):
            export_module(module, X, dataclasses.replace(spec, opset=18), tmp_path / "m.onnx")


class TestStoredAsFp16:
    def test_half_the_size_and_the_rounded_module_s_answers(self, tiny, tmp_path) -> None:
        path = export_module(tiny.module, tiny.example, tiny.spec, tmp_path / "half.onnx", fp16_weights=True)
        assert read_spec(path).provenance == {"stored_weights": "FP16"}
        stored = {w.name: w for w in onnx.load(path).graph.initializer}
        large = next(w for w in stored.values() if np.prod(w.dims) >= LARGE_WEIGHT)
        assert large.data_type == onnx.TensorProto.FLOAT16
        assert path.stat().st_size < tiny.path.stat().st_size - 256 * 8 * 2 + 500

        case = tiny.cases[1]
        text = {"text": torch.from_numpy(case["text"])}
        with torch.no_grad():
            rounded = round_weights(tiny.module)(**text)["embedding"].numpy()
            exact = tiny.module(**text)["embedding"].numpy()
        got = run(path, **case)["embedding"]
        np.testing.assert_allclose(got, rounded, rtol=1e-5, atol=1e-6)
        assert np.abs(got - exact).max() > 1e-5  # it is the rounded module, and rounding is seen

    def test_small_weights_and_the_module_itself_are_left_alone(self, tiny) -> None:
        before = {name: value.clone() for name, value in tiny.module.named_parameters()}
        rounded = dict(round_weights(tiny.module).named_parameters())
        for name, value in tiny.module.named_parameters():
            assert torch.equal(value, before[name])
            assert torch.equal(rounded[name], value) == (value.numel() < LARGE_WEIGHT)

    def test_a_weight_beyond_fp16_is_refused(self) -> None:
        module = nn.Linear(64, 64)
        nn.init.constant_(module.weight, 1e6)
        with pytest.raises(ExportError, match="'weight' reaches 1e\\+06"):
            round_weights(module)


def test_a_state_is_one_more_input_and_output(tmp_path) -> None:
    from neurips16.export.spec import StateSpec

    spec = simple_spec(
        TensorSpec("y", "FP32", ("N", 3), "", tolerance=CLOSE),
        inputs=(TensorSpec("x", "FP32", ("N", 3), ""),),
        states=(StateSpec("sum_in", "sum_out", "FP32", (3,), CLOSE),),
    )
    module = Calls(lambda x, sum_in: {"sum_out": sum_in + x, "y": (sum_in + x) * 2})
    path = export_module(module, {"x": torch.zeros(2, 3), "sum_in": torch.zeros(2, 3)}, spec, tmp_path / "m.onnx")
    answer = run(path, x=np.ones((1, 3), np.float32), sum_in=np.full((1, 3), 4, np.float32))
    assert answer["sum_out"].tolist() == [[5, 5, 5]]
    assert answer["y"].tolist() == [[10, 10, 10]]
