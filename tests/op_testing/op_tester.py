"""What holds the definitions of one operator against one another: torch, ONNX function body, native kernels.

A test class derives from `OpTester` and supplies the operator's name, its cases and two functions; everything else is
done here, the same way for every operator: any number of outputs, any types, inputs of no elements and inputs whose
memory has gaps. A definition that this machine cannot run skips with a reason.
"""

from __future__ import annotations

import functools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from native import build
from onnx import helper

from neurips16.export import ops

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
LOG_NOTHING = 4


@dataclass(frozen=True)
class Case:
    """One input of an operator."""

    name: str
    inputs: dict[str, np.ndarray]
    attributes: dict[str, Any]
    needs_exact_division: bool = False  # a runtime that multiplies by the reciprocal may answer otherwise

    def __str__(self) -> str:
        return self.name

    @property
    def empty(self) -> bool:
        """Whether an input has no elements."""
        return any(value.size == 0 for value in self.inputs.values())


def with_gaps(value: np.ndarray) -> np.ndarray:
    """The same values, every other element of memory that is twice as large, in the order of columns."""
    wide = np.zeros([*value.shape[:-1], 2 * value.shape[-1]], value.dtype, order="F")
    wide[..., ::2] = value
    return wide[..., ::2]


class OpTester(ABC):
    """The definitions of one operator, each against its reference."""

    name: ClassVar[str]  # in ONNX
    cases: ClassVar[list[Case]]
    rtol: ClassVar[float]  # of outputs of floating-point numbers; others are exact
    atol: ClassVar[float]
    folder: ClassVar[Path | None] = None  # of the operator's sources; None: where its ONNX definition lies

    @abstractmethod
    def reference(self, case: Case) -> np.ndarray | Sequence[np.ndarray]:
        """The slow, readable answer: an array, or one for each output."""

    @abstractmethod
    def torch(self, inputs: dict[str, Any], attributes: dict[str, Any]) -> Any:
        """The torch operator's answer to tensors: a tensor, or one for each output."""

    def wanted(self, case: Case) -> list[np.ndarray]:
        """The reference's outputs."""
        answer = self.reference(case)
        return [answer] if isinstance(answer, np.ndarray) else list(answer)

    def check(self, case: Case, got: Sequence[np.ndarray]) -> None:
        """``got`` are the reference's outputs: types, shapes, which values are not finite, and the others closely."""
        want = self.wanted(case)
        assert len(got) == len(want)
        for mine, theirs in zip(got, want, strict=True):
            assert mine.dtype == theirs.dtype
            assert mine.shape == theirs.shape
            exact = theirs.dtype.kind != "f"
            np.testing.assert_allclose(mine, theirs, rtol=0 if exact else self.rtol, atol=0 if exact else self.atol)

    def run_torch(self, case: Case, device: str = "cpu", *, gaps: bool = False) -> list[np.ndarray]:
        """The torch operator's outputs."""
        import torch

        arrays = {name: with_gaps(value) if gaps else value for name, value in case.inputs.items()}
        answer = self.torch({n: torch.from_numpy(v).to(device) for n, v in arrays.items()}, case.attributes)
        return [one.cpu().numpy() for one in ((answer,) if isinstance(answer, torch.Tensor) else answer)]

    @functools.cache  # noqa: B019  (as many as there are sets of attributes)
    def model(self, attributes: tuple[tuple[str, Any], ...], *, opset: int = 17, body: bool = True) -> onnx.ModelProto:
        """One node of the operator, every axis free, with its function body or without."""
        schema = ops.operator_schema(self.name)
        outputs = [output.name for output in schema.outputs]
        node = helper.make_node(
            self.name, [i.name for i in schema.inputs], outputs, domain=schema.domain, **dict(attributes)
        )
        inputs = [self._value(name, value) for name, value in self.cases[0].inputs.items()]
        values = [self._value(name, value) for name, value in zip(outputs, self.wanted(self.cases[0]), strict=True)]
        model = helper.make_model(
            helper.make_graph([node], "one_node", inputs, values),
            opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(schema.domain, 1)],
            functions=ops.function_bodies([self.name], opset) if body else [],
            ir_version=8 if opset < 19 else 10,
        )
        if body:
            onnx.checker.check_model(model, full_check=True)
        return model

    @staticmethod
    def _value(name: str, value: np.ndarray) -> onnx.ValueInfoProto:
        free = [f"{name}_{axis}" for axis in range(value.ndim)]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), free)

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

    def provider_of_kernel(
        self, case: Case, library: Path, provider: str, folder: Path
    ) -> tuple[list[np.ndarray], str]:
        """The native kernel's outputs, and the provider that it ran on as ONNX Runtime's profile tells."""
        session = self.session(case, library=library, provider=provider, profile=folder)
        answers = session.run(None, case.inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
        ran = {e["args"]["provider"] for e in events if e.get("args", {}).get("op_name") == self.name}
        assert len(ran) == 1, f"{self.name} was not run as one kernel: providers {ran}"
        return answers, ran.pop()

    @pytest.fixture(scope="class")
    @classmethod
    def emulated_library(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The CUDA kernel, compiled for this processor."""
        sources = cls.folder or ops.operator_folder(cls.name)
        return build(tmp_path_factory.mktemp("emulated"), sources / "cuda.cu")

    def test_the_cases_have_one_of_no_elements(self) -> None:
        assert any(case.empty for case in self.cases)

    def test_torch(self, case: Case) -> None:
        self.check(case, self.run_torch(case))

    def test_torch_on_memory_with_gaps(self, case: Case) -> None:
        self.check(case, self.run_torch(case, gaps=True))

    def test_torch_s_shape_function(self) -> None:
        import torch

        for case in self.cases[:3]:
            inputs = {name: torch.from_numpy(value.copy()) for name, value in case.inputs.items()}
            with torch._subclasses.FakeTensorMode() as mode:
                fake = self.torch({name: mode.from_tensor(value) for name, value in inputs.items()}, case.attributes)
            shapes = [tuple(one.shape) for one in ((fake,) if isinstance(fake, torch.Tensor) else fake)]
            assert shapes == [value.shape for value in self.wanted(case)]

    def test_function_body_in_onnxruntime(self, case: Case) -> None:
        self.check(case, self.session(case).run(None, case.inputs))

    @pytest.mark.parametrize("opset", [18, 21, 23])
    def test_function_body_in_later_opsets(self, opset: int) -> None:
        case = self.cases[2]
        self.check(case, self.session(case, opset=opset).run(None, case.inputs))

    def test_function_body_in_onnx_reference(self, case: Case) -> None:
        from onnx.reference import ReferenceEvaluator

        with np.errstate(invalid="ignore"):
            got = ReferenceEvaluator(self.model(tuple(case.attributes.items()))).run(None, case.inputs)
        self.check(case, got)

    def test_function_body_inlined_in_openvino(self, case: Case) -> None:
        import onnx.inliner

        openvino = pytest.importorskip("openvino", reason="OpenVINO is in the dev extra")
        inlined = onnx.inliner.inline_local_functions(self.model(tuple(case.attributes.items())))
        core = openvino.Core()
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}  # the default may be bf16
        answer = core.compile_model(core.read_model(inlined.SerializeToString()), "CPU", hints)(case.inputs)
        got = [answer[place] for place in range(len(self.wanted(case)))]
        if case.needs_exact_division:  # OpenVINO multiplies by the reciprocal
            for mine, theirs in zip(got, self.wanted(case), strict=True):
                assert np.isclose(mine, theirs, rtol=self.rtol, atol=self.atol).mean() > 0.95
        else:
            self.check(case, got)

    @pytest.mark.parametrize("threads", [1, 2])
    def test_native_kernel(self, case: Case, threads: int, ops_library: Path) -> None:
        session = self.session(case, library=ops_library, threads=threads, body=False)
        self.check(case, session.run(None, case.inputs))

    def test_native_kernel_is_preferred_to_the_function_body(self, ops_library: Path, tmp_path: Path) -> None:
        answers, provider = self.provider_of_kernel(self.cases[2], ops_library, CPU, tmp_path)
        assert provider == CPU
        self.check(self.cases[2], answers)

    def test_cuda_kernel_emulated_on_the_host(self, case: Case, emulated_library: Path) -> None:
        self.check(case, self.session(case, library=emulated_library, body=False).run(None, case.inputs))

    @pytest.mark.cuda
    def test_native_kernel_on_cuda(self, case: Case, ops_library: Path, tmp_path: Path) -> None:
        if CUDA not in ort.get_available_providers():
            pytest.skip("this ONNX Runtime has no CUDA provider (onnxruntime-gpu has)")
        if CUDA not in ops.library_info()["providers"]:
            pytest.skip("the library was built without CUDA kernels")
        answers, provider = self.provider_of_kernel(case, ops_library, CUDA, tmp_path)
        assert provider == CUDA
        self.check(case, answers)

    @pytest.mark.cuda
    def test_torch_on_cuda(self, case: Case) -> None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no CUDA device")
        self.check(case, self.run_torch(case, "cuda"))


def library_or_skip() -> Path:
    """The native library; skips where it was not built, and fails there when NEURIPS16_REQUIRE_OPS=1."""
    path = ops.library_path()
    if path is None:
        reason = "libneurips16_ops.so was not built (pip install says why)"
        if os.environ.get("NEURIPS16_REQUIRE_OPS") == "1":
            pytest.fail(f"NEURIPS16_REQUIRE_OPS=1, but {reason}")
        pytest.skip(reason)
    return path
