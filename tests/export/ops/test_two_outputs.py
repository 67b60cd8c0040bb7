"""An operator of another package, with two outputs of two types: the same tester holds its definitions together."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from native import build
from op_tester import Case, OpTester
from torch import nn

from neurips16.export import ops
from neurips16.export.graph.exporter import export_module
from neurips16.export.ops import OpError
from neurips16.export.parity.check import check_parity
from neurips16.export.spec import EXACT, ModelSpec, Op, TensorSpec

FOLDER = Path(__file__).parents[2] / "op_testing/sign_split"


def register(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Make `neurips16.ops` name these packages."""
    entries = [importlib.metadata.EntryPoint(f"op{i}", value, ops.GROUP) for i, value in enumerate(values)]
    monkeypatch.setattr(ops, "entry_points", lambda group: entries if group == ops.GROUP else [])
    ops._op_modules.cache_clear()


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    register(monkeypatch, "sign_split")
    yield
    ops._op_modules.cache_clear()


def case(name: str, shape: tuple[int, int], threshold: float) -> Case:
    values = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
    return Case(name, {"x": values}, {"threshold": threshold})


class TestSignSplit(OpTester):
    name = "SignSplit"
    cases = [  # noqa: RUF012
        case("one", (1, 1), 0.0),
        case("some", (3, 5), 0.5),
        case("many", (40, 13), 0.25),  # more than the emulator has threads
        case("none", (0, 4), 0.5),
        case("no_columns", (4, 0), 0.5),
    ]
    rtol, atol = 0.0, 0.0
    folder = FOLDER

    def reference(self, case: Case) -> list[np.ndarray]:
        x = case.inputs["x"]
        return [np.abs(x), (x < -np.float32(case.attributes["threshold"])).astype(np.int32)]

    def torch(self, inputs: dict, attributes: dict) -> tuple[torch.Tensor, torch.Tensor]:
        from sign_split.definition import sign_split

        return sign_split(inputs["x"], attributes["threshold"])

    @pytest.fixture(scope="class")
    @classmethod
    def ops_library(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Its own library, as another package would build it."""
        return build(tmp_path_factory.mktemp("native"), FOLDER / "cpu.cc")


class Splitter(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        from sign_split.definition import sign_split

        magnitude, negative = sign_split(x, 0.5)
        return {"magnitude": magnitude, "negative": negative}


@pytest.mark.parametrize("inline", [False, True])
def test_it_is_exported_with_both_outputs(tmp_path: Path, inline: bool) -> None:
    outputs = (
        TensorSpec("magnitude", "FP32", ("N", "L"), "", tolerance=EXACT),
        TensorSpec("negative", "INT32", ("N", "L"), "", tolerance=EXACT),
    )
    spec = ModelSpec(
        name="splitter",
        system="none",
        summary="",
        inputs=(TensorSpec("x", "FP32", ("N", "L"), ""),),
        outputs=outputs,
        max_batch_size=4,
        paper="none",
        custom_ops=(Op("neurips16", "SignSplit"),),
    )
    module = Splitter().eval()
    path = export_module(module, {"x": torch.randn(2, 3)}, spec, tmp_path / "model.onnx", inline=inline)
    cases = [{"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)} for shape in ((1, 4), (3, 7))]
    library = None if inline else build(tmp_path, FOLDER / "cpu.cc")
    report = check_parity(spec, module, path, cases, op_library=library)
    report.raise_if_failed()
    assert list(report.runs) == (["onnx"] if inline else ["onnx", "kernels"])


def test_a_wrong_index_in_a_cuda_kernel_is_seen(tmp_path: Path) -> None:
    """The emulated kernel with an off-by-one error: not every value is computed."""
    for file in FOLDER.glob("*.*"):
        text = file.read_text(encoding="utf-8")
        (tmp_path / file.name).write_text(text.replace("ThreadRange(count)", "ThreadRange(count - 1)"))
    tester, asked = TestSignSplit(), TestSignSplit.cases[2]
    session = tester.session(asked, library=build(tmp_path, tmp_path / "cuda.cu"), body=False)
    with pytest.raises(AssertionError):
        tester.check(asked, [value.copy() for value in session.run(None, asked.inputs)])


def test_shapes_and_types_are_inferred(tmp_path: Path) -> None:
    model = TestSignSplit().model((("threshold", 0.5),), body=False)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(build(tmp_path, FOLDER / "cpu.cc")))
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert [(o.shape, o.type) for o in session.get_outputs()] == [
        (["x_0", "x_1"], "tensor(float)"),
        (["x_0", "x_1"], "tensor(int32)"),
    ]


def test_an_operator_is_defined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "sign_split", "sign_split")
    with pytest.raises(OpError, match="SignSplit is defined twice, in sign_split and sign_split"):
        ops.operator_schema("SignSplit")


def test_the_package_is_found_beside_the_tests() -> None:
    assert ops.operator_folder("SignSplit") == FOLDER
    assert "sign_split" in sys.modules
