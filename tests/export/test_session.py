from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from neurips16.export.errors import SessionError
from neurips16.export.session import CPU, CUDA, make_session

HAS_CUDA = CUDA in ort.get_available_providers()


def test_what_is_asked_for_is_what_is_set(tiny) -> None:
    session = make_session(tiny.path, intra_op_threads=2)
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert session.get_providers() == [CPU]


def test_it_answers(tiny) -> None:
    answer = make_session(tiny.path).run(["count"], {"text": np.uint8([[1, 0, 2, 3]])})
    assert answer[0].tolist() == [[3]]


@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_file_that_cannot_be_loaded(tmp_path, content) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(SessionError, match=rf"ONNX Runtime {ort.__version__} cannot load .*model\.onnx"):
        make_session(tmp_path / "model.onnx")


def test_an_op_library_that_cannot_be_loaded(tiny, tmp_path) -> None:
    with pytest.raises(SessionError, match=r"libnone\.so"):
        make_session(tiny.path, op_library=tmp_path / "libnone.so")


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA")
def test_asking_for_cuda_and_having_none_is_an_error(tiny) -> None:
    with pytest.raises(SessionError, match=r"CUDAExecutionProvider asked for, .* has .*CPU.*onnxruntime-gpu"):
        make_session(tiny.path, providers=[CUDA, CPU])


def test_a_provider_that_is_lost_on_the_way_is_an_error(tiny, monkeypatch) -> None:
    # A GPU build of ONNX Runtime on a machine without a driver: the provider is "available", and then is not there.
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda path, options, providers: real(path, options, providers=[CPU]))
    with pytest.raises(SessionError, match=r"CUDA.* asked for, but the session runs on CPU.*nvidia-smi"):
        make_session(tiny.path, providers=[CUDA])


class PretendsToBeOnTheGpu:
    """A session that says it runs on CUDA while its nodes lie on the CPU."""

    def __init__(self, path, options, providers) -> None:
        self.real = REAL_SESSION(path, options, providers=[CPU])

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]

    def __getattr__(self, name: str):
        if name == "get_provider_graph_assignment_info" and self.old:
            raise AttributeError(name)
        return getattr(self.real, name)


REAL_SESSION = ort.InferenceSession


@pytest.mark.parametrize(("old", "text"), [(False, r"does not take Conv, which would run"), (True, r"1\.24")])
def test_heavy_nodes_left_on_the_cpu_are_an_error(tiny, monkeypatch, old, text) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", type("Fake", (PretendsToBeOnTheGpu,), {"old": old}))
    with pytest.raises(SessionError, match=text):
        make_session(tiny.path, providers=[CUDA])


@pytest.mark.cuda
@pytest.mark.skipif(not HAS_CUDA, reason="this ONNX Runtime has no CUDA")
def test_the_work_runs_on_the_gpu(tiny) -> None:
    session = make_session(tiny.path, providers=[CUDA])
    assert session.get_providers()[0] == CUDA
    case = tiny.cases[1]
    on_gpu, on_cpu = session.run(None, case), make_session(tiny.path).run(None, case)
    for got, want in zip(on_gpu, on_cpu, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
