"""A model that ends the server that runs it: made for the soak, with an operator in a library of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

CRASHING = "soak_crashing"
SOURCE = Path(__file__).parent / "crashing_op.cc"
CONFIG = """
name: "{name}" backend: "onnxruntime" max_batch_size: 8 instance_group {{ kind: KIND_CPU count: 1 }}
input {{ name: "x" data_type: TYPE_FP32 dims: -1 }}
output {{ name: "y" data_type: TYPE_FP32 dims: -1 }}
model_operations {{ op_library_filename: "{library}" }}
"""


def build_library(folder: Path) -> Path | None:
    """Compile the operator; None where there is no compiler, or no headers of ONNX Runtime."""
    places = (Path(sys.prefix) / "include/onnxruntime", Path("/usr/include/onnxruntime"))
    headers = [place for place in places if (place / "onnxruntime_cxx_api.h").is_file()]
    if shutil.which("g++") is None or not headers:
        return None
    library = folder / "libcrashing.so"
    command = ["g++", "-std=c++20", "-shared", "-fPIC", f"-I{headers[0]}", str(SOURCE), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


def add_crashing(repository: Path, library: Path) -> str:
    """Add ``y = x``, which ends the process where x is negative."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "L"]) for name in ("x", "y")]
    node = helper.make_node("CrashIfNegative", ["x"], ["y"], domain="tests")
    graph = helper.make_graph([node], CRASHING, tensors[:1], tensors[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("tests", 1)]
    folder = repository / CRASHING / "1"
    folder.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "model.onnx")
    (folder.parent / "config.pbtxt").write_text(CONFIG.format(name=CRASHING, library=library))
    return CRASHING
