from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import pytest
import torch
from torch import nn

from neurips16.clients.protocol.errors import ClientError
from neurips16.export.errors import ParityError
from neurips16.export.graph.exporter import export_module
from neurips16.export.parity.check import check_parity
from neurips16.export.parity.difference import compare
from neurips16.export.parity.report import ParityReport, check_metrics, file_sha256
from neurips16.export.spec import EXACT, MetricGate, StateSpec, TensorSpec, Tolerance

CLOSE = Tolerance(1e-4, 1e-5, "FP32 sums in another order")


def perturb_weight(model: onnx.ModelProto, name: str = "conv.bias") -> None:
    weight = next(w for w in model.graph.initializer if w.name.endswith(name))
    value = onnx.numpy_helper.to_array(weight).copy()
    value[0] += 0.01
    weight.CopyFrom(onnx.numpy_helper.from_array(value, weight.name))


def perturb_axis(model: onnx.ModelProto) -> None:
    output = next(o for o in model.graph.output if o.name == "count")
    output.type.tensor_type.shape.dim[0].dim_value = 4


def perturb_name(model: onnx.ModelProto) -> None:
    next(o for o in model.graph.output if o.name == "density").name = "thickness"
    for node in model.graph.node:
        node.output[:] = ["thickness" if name == "density" else name for name in node.output]


def perturbed(tiny, folder: Path, *changes) -> Path:
    model = onnx.load(tiny.path)
    for change in changes:
        change(model)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


WEIGHT = "onnx, case 1: output 'embedding': "
AXIS = "file: output 'count': axis 0 became constant (4), the specification names it 'N'"
NAME = (
    "file: outputs have other names: got embedding, count, thickness; the specification says embedding, count, density"
)


class TestGate:
    def test_the_exported_model_passes(self, tiny, tmp_path) -> None:
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases)
        report.raise_if_failed()
        assert report.passed
        found = report.runs["onnx"]
        assert list(found) == ["embedding", "count", "density"]
        assert found["embedding"].max_abs < 1e-5
        assert found["embedding"].compared == (1 + 4) * 4

    @pytest.mark.parametrize(
        ("changes", "texts"),
        [
            ([perturb_weight], [WEIGHT]),
            ([perturb_axis], [AXIS]),
            ([perturb_name], [NAME]),
            ([perturb_weight, perturb_axis, perturb_name], [WEIGHT, AXIS, NAME]),
        ],
        ids=["weight", "axis", "name", "all three"],
    )
    def test_what_was_perturbed_is_refused_and_all_of_it_listed(self, tiny, tmp_path, changes, texts) -> None:
        path = perturbed(tiny, tmp_path, *changes)
        report = check_parity(tiny.spec, tiny.module, path, tiny.cases)
        assert not report.passed
        with pytest.raises(ParityError) as error:
            report.raise_if_failed()
        for text in (WEIGHT, AXIS, NAME):
            assert (text in str(error.value)) == (text in texts)

    def test_a_refusal_says_how_much_where_and_what_was_allowed(self, tiny, tmp_path) -> None:
        report = check_parity(tiny.spec, tiny.module, perturbed(tiny, tmp_path, perturb_weight), tiny.cases)
        text = next(str(f) for f in report.failures if f.case == 1)
        assert "the largest difference is 0.01 at (" in text
        assert "allowed 1e-05 + 0.0001 |torch| (FP32 sums in another order)" in text

    def test_another_specification_is_refused(self, tiny, make_spec) -> None:
        spec = make_spec(parameters={"alphabet": "abc"})
        report = check_parity(spec, tiny.module, tiny.path, tiny.cases)
        assert [str(f) for f in report.failures] == [
            "file: the specification inside the file is not the one that it is checked against: export it again"
        ]

    def test_a_model_that_does_not_load_is_a_failure_of_its_station(self, tiny, tmp_path) -> None:
        def unknown_operator(model: onnx.ModelProto) -> None:
            model.graph.node[0].op_type = "NoSuchOperator"

        report = check_parity(tiny.spec, tiny.module, perturbed(tiny, tmp_path, unknown_operator), tiny.cases)
        assert [f.where for f in report.failures] == ["onnx"]
        assert "cannot load" in report.failures[0].text

    def test_kernels_are_a_station_of_their_own(self, tiny, tmp_path) -> None:
        def own_operator(model: onnx.ModelProto) -> None:
            node = model.graph.node[0]  # a Cast, now behind a function of ours
            body = onnx.helper.make_function("own", "Wrapped", ["x"], ["y"], [], [onnx.helper.make_opsetid("", 20)])
            body.node.append(node)
            body.node[0].input[:], body.node[0].output[:] = ["x"], ["y"]
            del node.attribute[:]
            node.domain, node.op_type = "own", "Wrapped"
            model.functions.append(body)
            model.opset_import.add(domain="own", version=1)

        library, path = tmp_path / "libmissing.so", perturbed(tiny, tmp_path, own_operator)
        report = check_parity(tiny.spec, tiny.module, path, tiny.cases, op_library=library)
        assert [f.where for f in report.failures] == ["kernels"]
        assert "libmissing.so" in report.failures[0].text
        assert report.runs["onnx"]

        # A file that has no operator for the kernels must not claim that they were checked.
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases, op_library=library)
        assert report.passed
        assert list(report.runs) == ["onnx"]


class TestCases:
    @pytest.mark.parametrize(
        ("cases", "text"),
        [
            ([], "axis L is tried at too few lengths (none)"),
            ([{"text": (2, 9)}, {"text": (2, 12)}], "axis N is tried at too few lengths (2)"),
            ([{"text": (2, 9)}, {"text": (3, 9)}], "axis L is tried at too few lengths (9)"),
            ([{"text": (2, 9)}, {}], "case 1 has no 'text'"),
            ([{"text": (2, 9), "txt": (1, 1)}], "case 0 has inputs that the model does not take: txt"),
        ],
    )
    def test_cases_that_prove_too_little_are_refused(self, tiny, cases, text) -> None:
        arrays = [{name: np.ones(shape, np.uint8) for name, shape in case.items()} for case in cases]
        report = check_parity(tiny.spec, SkippedModule(), tiny.path, arrays)
        assert any(text in str(f) for f in report.failures), report.failures
        assert not report.passed

    def test_a_wrong_type_shape_or_range_is_refused(self, tiny, make_spec) -> None:
        spec = make_spec(inputs=(TensorSpec("text", "UINT8", ("N", "L"), "", range=(0, 127)),))
        cases = [
            {"text": np.zeros((1, 5), np.int64)},
            {"text": np.zeros((5,), np.uint8)},
            {"text": np.full((2, 6), 200, np.uint8)},
        ]
        texts = [str(f) for f in check_parity(spec, SkippedModule(), tiny.path, cases).failures]
        assert any("case 0, 'text' is int64, the specification says UINT8" in t for t in texts)
        assert any("case 1, 'text' has shape (5,)" in t for t in texts)
        assert any("case 2, 'text' lies in 200 … 200, the specification says 0 … 127" in t for t in texts)


class SkippedModule(nn.Module):
    """Answers what the specification says, whatever it is asked: for tests of the cases themselves."""

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        n = len(next(iter(inputs.values()), [0]))
        return {
            "embedding": torch.zeros(n, 4),
            "count": torch.zeros(n, 1, dtype=torch.int32),
            "density": torch.zeros(n, 1),
        }


class FakeClient:
    """Stands in for a server that holds the exported model, and keeps the states of sequences; ``url`` is the file."""

    def __init__(self, url: str) -> None:
        self.session = onnxruntime.InferenceSession(url, providers=["CPUExecutionProvider"])
        self.public = [o.name for o in self.session.get_outputs() if not o.name.endswith("_out")]
        self.states: dict[object, dict[str, np.ndarray]] = {}
        self.closed = False

    def model_config(self, name: str) -> SimpleNamespace:
        if name == "unknown":
            raise ClientError("no such model")
        inputs = [SimpleNamespace(name=i.name) for i in self.session.get_inputs() if not i.name.endswith("_in")]
        return SimpleNamespace(parameters={}, max_batch_size=8, inputs=inputs)

    def infer(self, model, inputs, *, version="", sequence=None) -> dict[str, np.ndarray]:
        if model == "silent":
            raise ClientError("no answer")
        states = [i for i in self.session.get_inputs() if i.name.endswith("_in")]
        if states:
            key = "all" if model == "mixed" else sequence.id
            if sequence.start and not (model == "mixed" and self.states):
                self.states[key] = {i.name: np.zeros([1, *i.shape[1:]], np.float32) for i in states}
            inputs = {**inputs, **self.states[key]}
        names = [o.name for o in self.session.get_outputs()]
        answers = dict(zip(names, self.session.run(names, inputs), strict=True))
        if states and model != "forgetful":
            self.states[key] = {i.name: answers[i.name.replace("_in", "_out")] for i in states}
        answers = {name: answers[name] for name in self.public}
        if model == "worse":
            answers = {name: value + 1 for name, value in answers.items() if name != "count"}
        return answers

    def close(self) -> None:
        self.closed = True


class TestServer:
    @pytest.fixture(autouse=True)
    def clients(self, monkeypatch) -> Iterator[list[FakeClient]]:
        """The clients that a test has made; all are closed at its end."""
        made: list[FakeClient] = []
        monkeypatch.setattr("neurips16.export.station.Client", lambda url: made.append(FakeClient(url)) or made[-1])
        yield made
        assert all(client.closed for client in made)

    def test_a_served_model_passes(self, tiny) -> None:
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases, server=(str(tiny.path), "same"))
        report.raise_if_failed()
        assert list(report.runs) == ["onnx", "server"]

    def test_another_model_does_not(self, tiny) -> None:
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases, server=(str(tiny.path), "worse"))
        texts = [str(f) for f in report.failures]
        assert (
            "server, case 0: the outputs are density, embedding; the specification says count, density, embe"
            in texts[0]
        )
        assert {f.where for f in report.failures} == {"server"}
        assert sum("values differ too much" in t for t in texts) == 4

    def test_nor_one_that_does_not_answer(self, tiny) -> None:
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases, server=(str(tiny.path), "unknown"))
        assert [str(f) for f in report.failures] == ["server: the server did not answer: no such model"]
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases, server=(str(tiny.path), "silent"))
        assert [str(f) for f in report.failures] == [
            "server, case 0: the server did not answer: no answer",
            "server, case 1: the server did not answer: no answer",
        ]

    @pytest.fixture
    def summing(self, make_spec, tmp_path) -> SimpleNamespace:
        """A model that adds up what it has been given, and cases of it."""

        class Sum(nn.Module):
            def forward(self, x: torch.Tensor, sum_in: torch.Tensor) -> dict[str, torch.Tensor]:
                return {"y": (x + sum_in) * 2, "sum_out": x + sum_in}

        spec = make_spec(
            inputs=(TensorSpec("x", "FP32", ("N", 3), ""),),
            outputs=(TensorSpec("y", "FP32", ("N", 3), "", tolerance=CLOSE),),
            states=(StateSpec("sum_in", "sum_out", "FP32", (3,), CLOSE),),
        )
        module = Sum().eval()
        path = export_module(module, (torch.zeros(2, 3), torch.zeros(2, 3)), spec, tmp_path / "model.onnx")
        sequences = [
            [{"x": np.full((rows, 3), start + step, np.float32)} for step in range(steps)]
            for rows, steps, start in ((2, 3, 1.0), (1, 2, 10.0))
        ]
        later = {"x": np.ones((1, 3), np.float32), "sum_in": np.full((1, 3), 7, np.float32)}
        return SimpleNamespace(spec=spec, module=module, path=path, cases=[*sequences, later], later=later)

    def check(self, summing, model: str) -> ParityReport:
        return check_parity(
            summing.spec, summing.module, summing.path, summing.cases, server=(str(summing.path), model)
        )

    def test_sequences_carry_their_state_in_the_file_and_at_the_server(self, summing) -> None:
        report = self.check(summing, "same")
        report.raise_if_failed()
        assert report.runs["onnx"]["sum_out"].compared == 3 * (2 * 3 + 1 * 2 + 1)
        assert {name: found.compared for name, found in report.runs["server"].items()} == {"y": 3 * (2 * 3 + 1 * 2)}
        assert report.cases[0] == [{"x": [2, 3]}] * 3
        assert report.cases[2] == {"x": [1, 3], "sum_in": [1, 3]}

    @pytest.mark.parametrize(("model", "first"), [("forgetful", "case 0: step 1"), ("mixed", "case 0: step 0")])
    def test_a_server_that_loses_or_mixes_states_is_refused(self, summing, model, first) -> None:
        texts = [str(f) for f in self.check(summing, model).failures]
        assert texts[0].startswith(f"server, {first}: output 'y': ")
        assert all(text.startswith("server, ") for text in texts)

    def test_cases_that_do_not_try_the_state_are_refused(self, summing) -> None:
        single = [{"x": np.ones((rows, 3), np.float32)} for rows in (1, 2)]
        report = check_parity(summing.spec, summing.module, summing.path, single)
        assert [str(f) for f in report.failures] == [
            "cases: no case has two steps: what becomes of the state from one to the next is not tried"
        ]
        report = check_parity(
            summing.spec, summing.module, summing.path, [summing.later] * 2, server=(str(summing.path), "same")
        )
        assert any("give a case without them" in str(f) for f in report.failures)

    def test_steps_are_for_models_that_keep_state(self, tiny) -> None:
        report = check_parity(tiny.spec, tiny.module, tiny.path, [*tiny.cases, [tiny.cases[0]] * 2])
        assert str(report.failures[0]) == "cases: case 2 has 2 steps, and the model keeps no state from one to the next"


class TestCompare:
    tensor = TensorSpec("y", "FP32", ("N", 2), "", tolerance=Tolerance(1e-3, 1e-6, "why"))

    @pytest.mark.parametrize(
        ("got", "want", "passes"),
        [
            ([1.0, 2.0], [1.0, 2.0], True),
            ([1.0009, 2.0], [1.0, 2.0], True),
            ([1.0012, 2.0], [1.0, 2.0], False),
            ([0.0, 0.9e-6], [0.0, 0.0], True),
            ([0.0, 1.1e-6], [0.0, 0.0], False),
            ([math.nan, 2.0], [1.0, 2.0], False),
            ([1.0, 2.0], [math.nan, 2.0], False),
            ([math.nan, 2.0], [math.nan, 2.0], False),
            ([math.inf, 2.0], [math.inf, 2.0], True),
            ([-math.inf, 2.0], [math.inf, 2.0], False),
            ([1e30, 2.0], [math.inf, 2.0], False),
            ([math.inf, 2.0], [1.0, 2.0], False),
        ],
    )
    def test_floats(self, got, want, passes) -> None:
        report, problems = compare(self.tensor, np.float32([got]), np.float32([want]))
        assert (problems == []) == passes
        assert not math.isnan(report.max_abs)
        assert not math.isnan(report.max_rel)

    @pytest.mark.parametrize("value", [2**53, 7])
    def test_integers_are_compared_exactly(self, value) -> None:
        tensor = TensorSpec("y", "INT64", ("N", 1), "", tolerance=EXACT)
        assert compare(tensor, np.array([[value]]), np.array([[value]]))[1] == []
        assert compare(tensor, np.array([[value + 1]]), np.array([[value]]))[1] != []

    def test_types_shapes_and_nothing(self) -> None:
        want = np.ones((2, 2), np.float32)
        assert "the type is float64" in compare(self.tensor, want.astype(np.float64), want)[1][0]
        assert "the shape is (2, 1)" in compare(self.tensor, want[:, :1], want)[1][0]
        assert "nothing to compare" in compare(self.tensor, want[:0], want[:0])[1][0]

    def test_the_largest_difference_is_found(self) -> None:
        report, problems = compare(self.tensor, np.float32([[1, 2], [3, 5]]), np.float32([[1, 2], [3.5, 4]]))
        assert (report.max_abs, report.max_abs_at, report.max_rel) == (1.0, (1, 1), 0.25)
        assert "2 of 4 values differ too much" in problems[0]


class TestReport:
    def test_it_is_json_that_says_what_was_used(self, tiny, tmp_path) -> None:
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases)
        path = report.save(tmp_path)
        assert path == tmp_path / "parity.json"
        saved = json.loads(path.read_text(encoding="utf-8"))
        assert saved["passed"] is True
        assert saved["sha256"] == file_sha256(tiny.path)
        assert saved["cases"] == [{"text": [1, 7]}, {"text": [4, 30]}]
        assert saved["versions"]["torch"] == torch.__version__.split("+")[0] or saved["versions"]["torch"]
        assert set(saved["versions"]) == {"neurips16", "torch", "onnx", "onnxruntime", "numpy", "python"}
        assert saved["runs"]["onnx"]["embedding"]["reason"] == "FP32 sums in another order"
        assert saved["date"].endswith("+00:00")

    def test_infinities_are_written_as_text(self, tiny) -> None:
        report = ParityReport.of(tiny.spec, tiny.path)
        tensor = TestCompare.tensor
        report.runs["onnx"] = {"y": compare(tensor, np.float32([[math.inf, 0]]), np.float32([[1, 0]]))[0]}
        assert json.loads(report.to_json())["runs"]["onnx"]["y"]["max_abs"] == "inf"

    def test_nothing_compared_is_no_pass(self, tiny) -> None:
        report = ParityReport.of(tiny.spec, tiny.path)
        assert not report.passed
        with pytest.raises(ParityError, match="nothing was compared"):
            report.raise_if_failed()


class TestMetrics:
    @pytest.fixture
    def spec(self, make_spec):
        gates = (MetricGate("accuracy", 0.01, "FP16"), MetricGate("mean_rank", 0.5, "ties", lower_is_better=True))
        return make_spec(metrics=gates)

    @pytest.mark.parametrize(
        ("candidate", "failing"),
        [
            ({"accuracy": 0.795, "mean_rank": 10.4}, []),
            ({"accuracy": 0.9, "mean_rank": 3.0}, []),
            ({"accuracy": 0.78, "mean_rank": 10.0}, ["accuracy"]),
            ({"accuracy": 0.8, "mean_rank": 10.6}, ["mean_rank"]),
            ({"accuracy": math.nan, "mean_rank": math.nan}, ["accuracy", "mean_rank"]),
            ({"mean_rank": 10.0}, ["accuracy"]),
        ],
    )
    def test_loss_is_bounded(self, spec, candidate, failing) -> None:
        failures = check_metrics(spec, {"accuracy": 0.8, "mean_rank": 10.0}, candidate)
        assert [next(name for name in ("accuracy", "mean_rank") if name in f.text) for f in failures] == failing

    def test_a_loss_fails_the_report(self, spec, tiny) -> None:
        report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases)
        report.add_metrics(spec, "onnx", {"accuracy": 0.8, "mean_rank": 10}, {"accuracy": 0.5, "mean_rank": 10})
        with pytest.raises(ParityError, match=r"'accuracy' is 0\.5, torch has 0\.8: a loss of 0\.3, allowed is 0\.01"):
            report.raise_if_failed()
        assert json.loads(report.to_json())["metrics"]["onnx"]["accuracy"] == {
            "torch": 0.8,
            "onnx": 0.5,
            "allowed_loss": 0.01,
            "lower_is_better": False,
        }


def test_rounded_weights_are_compared_with_rounded_weights(tiny, tmp_path) -> None:
    path = export_module(tiny.module, tiny.example, tiny.spec, tmp_path / "model.onnx", fp16_weights=True)
    check_parity(tiny.spec, tiny.module, path, tiny.cases).raise_if_failed()
