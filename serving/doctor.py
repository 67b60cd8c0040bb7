"""What `neurips16 doctor` looks at: each part that serving needs, and then the whole, by serving a tiny model."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from neurips16.serving.errors import ServerFailedError, ServingError
from neurips16.serving.triton.installation import (
    OPS_LIBRARY,
    OPS_LIBRARY_VARIABLE,
    find_backend,
    find_onnxruntime,
    find_ops_library,
    find_preload,
    find_triton,
)


def examine(say: Callable[[str], object]) -> bool:
    """Say what is there and what is not; False when serving cannot work here.

    Args:
        say: called with each line.
    """
    works = True
    for name, check in (
        ("Python", _python),
        ("ONNX Runtime", _onnxruntime),
        ("Triton", _triton),
        ("backend", _backend),
        ("op library", _ops_library),
    ):
        works = _run(name, check, say) and works
    if not works:
        say("serving cannot work here before what failed is put right")
        return False
    return _run("a served model", _serve_tiny_model, say)


def _run(name: str, check: Callable[[], str], say: Callable[[str], object]) -> bool:
    try:
        said, works = check(), True
    except ServingError as error:
        said, works = str(error), False
    say(f"{'ok    ' if works else 'FAILED'} {name}: {said}")
    return works


def _python() -> str:
    return f"{platform.python_version()} in {sys.prefix}"


def _onnxruntime() -> str:
    library = find_onnxruntime()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
    import onnxruntime

    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers())
    return f"{onnxruntime.__version__} for {providers}, {library}"


def _triton() -> str:
    binary = find_triton()
    return f"nvidia-pytriton {binary.distribution_version}, {binary.executable}"


def _backend() -> str:
    return f"{find_backend()}, {find_preload().name}"


def _ops_library() -> str:
    library = find_ops_library()
    if library is not None:
        return str(library)
    return (
        f"{OPS_LIBRARY} is not built: models run without it, except those whose configuration names it "
        f"(build it, or set {OPS_LIBRARY_VARIABLE})"
    )


def _serve_tiny_model() -> str:
    """Serve ``y = x + x`` and ask for an answer: nothing else shows that the parts fit together."""
    import numpy as np
    import onnx
    import tritonclient.grpc as grpc_client
    from onnx import TensorProto, helper
    from tritonclient.utils import InferenceServerException

    from neurips16.serving.triton.server import TritonServer

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doctor",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "doctor" / "1"
        version.mkdir(parents=True)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, version / "model.onnx")
        began = time.monotonic()
        with TritonServer(folder, grpc_port=0, http_port=None, metrics_port=None) as server:
            took_s = time.monotonic() - began
            tensor = grpc_client.InferInput("x", x.shape, "FP32")
            tensor.set_data_from_numpy(x)
            try:
                with grpc_client.InferenceServerClient(server.url) as client:
                    answer = client.infer("doctor", [tensor], client_timeout=30).as_numpy("y")
            except InferenceServerException as error:
                raise ServerFailedError(f"Triton started, but its model does not answer: {error}") from error
            version_served = server.version()
    if not np.array_equal(answer, x + x):
        raise ServerFailedError(f"the answer is {answer.tolist()}, expected {(x + x).tolist()}")
    return f"Triton {version_served} was ready after {took_s:.1f} s and answered rightly"
