"""What holds the definitions of one operator against one another: torch, ONNX function body, native kernels.

A test class derives from `OpTester` and supplies the operator's name, its cases and two functions; the stations are run
here, the same way for every operator. A station that this machine lacks skips with a reason.
"""

from __future__ import annotations

import functools
import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from neurips16.export import ops

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
LOG_NOTHING = 4


@dataclass(frozen=True)
class Case:
    """One input of an operator. All tensors are FP32."""

    name: str
    inputs: dict[str, np.ndarray]
    attributes: dict[str, Any]
    needs_exact_division: bool = False  # a runtime that multiplies by the reciprocal may answer otherwise

    def __str__(self) -> str:
        return self.name


class OpTester(ABC):
    """The stations of one operator, each against its reference."""

    name: ClassVar[str]  # in ONNX
    cases: ClassVar[list[Case]]
    output_rank: ClassVar[int]
    rtol: ClassVar[float]
    atol: ClassVar[float]

    @abstractmethod
    def reference(self, case: Case) -> np.ndarray:
        """The slow, readable answer."""

    @abstractmethod
    def torch(self, case: Case, device: str) -> np.ndarray:
        """The torch operator's answer."""

    def check(self, case: Case, got: np.ndarray) -> None:
        """``got`` is the reference's answer: type, shape, which values are not finite, and the others closely."""
        want = self.reference(case)
        assert got.dtype == np.float32
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=self.rtol, atol=self.atol)

    @functools.cache  # noqa: B019  (as many as there are sets of attributes)
    def model(self, attributes: tuple[tuple[str, Any], ...], *, opset: int = 17, body: bool = True) -> onnx.ModelProto:
        """One node of the operator, every axis free, with its function body or without."""
        schema = ops.operator_schema(self.name)
        node = helper.make_node(
            self.name, [i.name for i in schema.inputs], ["output"], domain=ops.DOMAIN, **dict(attributes)
        )
        inputs = [
            helper.make_tensor_value_info(i.name, TensorProto.FLOAT, [f"{i.name}_{axis}" for axis in range(rank)])
            for i, rank in zip(schema.inputs, [v.ndim for v in self.cases[0].inputs.values()], strict=True)
        ]
        output = helper.make_tensor_value_info(
            "output", TensorProto.FLOAT, [f"out_{a}" for a in range(self.output_rank)]
        )
        model = helper.make_model(
            helper.make_graph([node], "one_node", inputs, [output]),
            opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(ops.DOMAIN, 1)],
            functions=ops.function_bodies([self.name], opset) if body else [],
            ir_version=8 if opset < 19 else 10,
        )
        if body:
            onnx.checker.check_model(model, full_check=True)
        return model

    def session(
        self,
        case: Case,
        *,
        library: Path | None = None,
        threads: int = 1,
        provider: str = CPU,
        profile: Path | None = None,
        **model: Any,
    ) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = LOG_NOTHING
        if library:
            options.register_custom_ops_library(str(library))
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile / "profile")
        proto = self.model(tuple(case.attributes.items()), **model)
        return ort.InferenceSession(proto.SerializeToString(), options, providers=[provider])

    def provider_of_kernel(self, case: Case, library: Path, provider: str, folder: Path) -> tuple[np.ndarray, str]:
        """The native kernel's answer, and the provider that it ran on as ONNX Runtime's profile tells."""
        session = self.session(case, library=library, provider=provider, profile=folder)
        (answer,) = session.run(None, case.inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
        ran = {e["args"]["provider"] for e in events if e.get("args", {}).get("op_name") == self.name}
        assert len(ran) == 1, f"{self.name} was not run as one kernel: providers {ran}"
        return answer, ran.pop()

    # The stations.

    def test_torch(self, case: Case) -> None:
        self.check(case, self.torch(case, "cpu"))

    def test_function_body_in_onnxruntime(self, case: Case) -> None:
        self.check(case, self.session(case).run(None, case.inputs)[0])

    @pytest.mark.parametrize("opset", [18, 21, 23])
    def test_function_body_in_later_opsets(self, opset: int) -> None:
        case = self.cases[2]
        self.check(case, self.session(case, opset=opset).run(None, case.inputs)[0])

    def test_function_body_in_onnx_reference(self, case: Case) -> None:
        from onnx.reference import ReferenceEvaluator

        with np.errstate(invalid="ignore"):
            (got,) = ReferenceEvaluator(self.model(tuple(case.attributes.items()))).run(None, case.inputs)
        self.check(case, got)

    def test_function_body_inlined_in_openvino(self, case: Case) -> None:
        import onnx.inliner

        openvino = pytest.importorskip("openvino", reason="OpenVINO is in the dev extra")
        inlined = onnx.inliner.inline_local_functions(self.model(tuple(case.attributes.items())))
        core = openvino.Core()
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}  # the default may be bf16
        got = core.compile_model(core.read_model(inlined.SerializeToString()), "CPU", hints)(case.inputs)[0]
        if case.needs_exact_division:  # OpenVINO multiplies by the reciprocal
            close = np.isclose(got, self.reference(case), rtol=self.rtol, atol=self.atol)
            assert close.mean() > 0.95
        else:
            self.check(case, got)

    @pytest.mark.parametrize("threads", [1, 2])
    def test_native_kernel(self, case: Case, threads: int, ops_library: Path) -> None:
        session = self.session(case, library=ops_library, threads=threads, body=False)
        self.check(case, session.run(None, case.inputs)[0])

    def test_native_kernel_is_preferred_to_the_function_body(self, ops_library: Path, tmp_path: Path) -> None:
        answer, provider = self.provider_of_kernel(self.cases[2], ops_library, CPU, tmp_path)
        assert provider == CPU
        self.check(self.cases[2], answer)

    @pytest.mark.cuda
    def test_native_kernel_on_cuda(self, case: Case, ops_library: Path, tmp_path: Path) -> None:
        if CUDA not in ort.get_available_providers():
            pytest.skip("this ONNX Runtime has no CUDA provider (onnxruntime-gpu has)")
        if CUDA not in ops.library_info()["providers"]:
            pytest.skip("the library was built without CUDA kernels")
        answer, provider = self.provider_of_kernel(case, ops_library, CUDA, tmp_path)
        assert provider == CUDA
        self.check(case, answer)

    @pytest.mark.cuda
    def test_torch_on_cuda(self, case: Case) -> None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no CUDA device")
        self.check(case, self.torch(case, "cuda"))


def library_or_skip() -> Path:
    """The native library; skips where it was not built, and fails there when NEURIPS16_REQUIRE_OPS=1."""
    path = ops.library_path()
    if path is None:
        reason = "libneurips16_ops.so was not built (pip install says why)"
        if os.environ.get("NEURIPS16_REQUIRE_OPS") == "1":
            pytest.fail(f"NEURIPS16_REQUIRE_OPS=1, but {reason}")
        pytest.skip(reason)
    return path
