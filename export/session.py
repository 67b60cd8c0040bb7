"""ONNX Runtime sessions, made in one place: the providers and threads are always stated.

ONNX Runtime falls back to the CPU in silence when a provider cannot be had; here that is an error.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from neurips16.export.errors import SessionError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# What the runtime throws; it has no common base of its own, and each of these means that the model or a request is bad.
ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)

_CUDA_OPTIONS = {
    "arena_extend_strategy": "kSameAsRequested",  # the default doubles, and never gives back what a long input took
    "cudnn_conv_algo_search": "HEURISTIC",  # the default searches again for every new input shape, for seconds
    "use_tf32": "0",  # a product of TF32 keeps ten bits: not what a comparison with torch is about
}
_LOG_ERRORS_ONLY = 3
_RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"
# The work that a GPU is asked for. ONNX Runtime keeps small integer nodes (shapes, indices) on the CPU on purpose.
_HEAVY = frozenset({"Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
_STANDARD_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def make_session(
    path: str | os.PathLike[str],
    *,
    providers: Sequence[str] = (CPU,),
    intra_op_threads: int = 1,
    op_library: str | os.PathLike[str] | None = None,
) -> ort.InferenceSession:
    """A session on ``path``.

    Args:
        path: the ONNX file.
        providers: in order of preference; asked for CUDA, the CPU stands behind it for the few nodes (shapes) that
            ONNX Runtime always keeps there, and convolutions, products, recurrences and our own operators must not be
            among those (ONNX Runtime 1.24 or later can say so).
        intra_op_threads: threads inside one operator; 0 means one for each core.
        op_library: `libneurips16_ops.so`; without it our own operators run as their function bodies.

    Raises:
        SessionError: the file or the library cannot be loaded, or a provider was asked for and is not to be had.
    """
    available = ort.get_available_providers()
    missing = [provider for provider in providers if provider not in available]
    if missing:
        remedy = " (pip install onnxruntime-gpu in place of onnxruntime)" if CUDA in missing else ""
        raise SessionError(
            f"{', '.join(missing)} asked for, but this ONNX Runtime {ort.__version__} has "
            f"{', '.join(available)}{remedy}"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _LOG_ERRORS_ONLY
    if CUDA in providers:
        options.add_session_config_entry(_RECORD_PLACEMENT, "1")
    named: list[Any] = [(CUDA, _CUDA_OPTIONS) if p == CUDA else p for p in providers]
    if CUDA in providers and CPU not in providers:
        named.append(CPU)
    try:
        if op_library is not None:
            options.register_custom_ops_library(str(Path(op_library).resolve()))
        session = ort.InferenceSession(os.fspath(path), options, providers=named)
    except ORT_ERRORS as error:
        raise SessionError(f"ONNX Runtime {ort.__version__} cannot load {os.fspath(path)}: {error}") from error
    session.disable_fallback()  # else a run that fails on the GPU is repeated on the CPU, in silence
    got = session.get_providers()
    lost = [provider for provider in providers if provider not in got]
    if lost:
        raise SessionError(
            f"{', '.join(lost)} asked for, but the session runs on {', '.join(got)}: "
            f"is the driver there (nvidia-smi), and do CUDA and cuDNN fit ONNX Runtime {ort.__version__}?"
        )
    if CUDA in providers:
        _check_on_gpu(session)
    return session


def _check_on_gpu(session: ort.InferenceSession) -> None:
    """Refuse a session whose heavy nodes lie on the CPU: the provider is there, and the work is not."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise SessionError(
            f"ONNX Runtime {ort.__version__} cannot say which nodes run on the GPU; 1.24 or later can: upgrade it"
        )
    left = {
        f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU
        for node in part.get_nodes()
        if node.op_type in _HEAVY or node.domain not in _STANDARD_DOMAINS
    }
    if left:
        raise SessionError(
            f"{CUDA} asked for, but it does not take {', '.join(sorted(left))}, which would run on the CPU: "
            f"is the operator there for CUDA, in this type and opset?"
        )
