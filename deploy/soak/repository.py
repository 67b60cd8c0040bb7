"""The model repositories that are soaked: copies of a given one, and models that are made for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from neurips16.serving.repository import MODEL_FILE

SLOW, TEXTS = "soak_slow", "soak_texts"

# Counts to `steps`, one by one: as slow as it is told to be.
_SLOW = """
<ir_version: 10, opset_import: ["": 20]>
slow (int64[N,1] steps) => (int64[N,1] counted) {
    most = ReduceMax <keepdims = 0> (steps)
    go_on = Constant <value = bool {1}> ()
    nothing = Constant <value_int = 0> ()
    count = Loop (most, go_on, nothing) <body = one_more (int64 i, bool before, int64 so_far)
        => (bool after, int64 next) {
        after = Identity (before)
        one = Constant <value_int = 1> ()
        next = Add (so_far, one)
    }>
    none = Sub (steps, steps)
    counted = Add (none, count)
}"""
_SLOW_CONFIG = """
backend: "onnxruntime" max_batch_size: 1 dynamic_batching {} instance_group { kind: KIND_CPU count: 1 }
input { name: "steps" data_type: TYPE_INT64 dims: 1 }
output { name: "counted" data_type: TYPE_INT64 dims: 1 }
"""

# Gives texts back, which come in lengths of their own and in UTF-8.
_TEXTS = """
<ir_version: 10, opset_import: ["": 20]>
texts (string[N,L] text) => (string[N,L] same) {
    same = Identity (text)
}"""
_TEXTS_CONFIG = """
backend: "onnxruntime" max_batch_size: 8 dynamic_batching {} instance_group { kind: KIND_CPU count: 1 }
input { name: "text" data_type: TYPE_STRING dims: -1 }
output { name: "same" data_type: TYPE_STRING dims: -1 }
"""


def copy(source: Path, target: Path, models: Iterable[str] | None = None) -> Path:
    """Copy a repository, or some of its models, into a new folder."""
    for folder in sorted(source.iterdir()):
        if folder.is_dir() and (models is None or folder.name in models):
            shutil.copytree(folder, target / folder.name)
    return target


def add_slow(repository: Path) -> str:
    """Add a model that takes as long as its input says."""
    return _add(repository, SLOW, _SLOW, _SLOW_CONFIG)


def add_texts(repository: Path) -> str:
    """Add a model whose tensors are texts."""
    return _add(repository, TEXTS, _TEXTS, _TEXTS_CONFIG)


def doubled(source: Path, target: Path) -> Path:
    """Write the model ``source`` again, with every output of floats doubled.

    Raises:
        ValueError: it has no such output, and the two could not be told apart.
    """
    model = onnx.load(source)
    graph = model.graph
    floats = {value.name for value in graph.output if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    if not floats:
        raise ValueError(f"{source} has no output of FP32: choose a model that has")
    single = {name: f"{name}_single" for name in floats}
    for node in graph.node:
        node.input[:] = [single.get(name, name) for name in node.input]
        node.output[:] = [single.get(name, name) for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.float32(2), "soak_two"))
    graph.node.extend(helper.make_node("Mul", [single[name], "soak_two"], [name]) for name in sorted(floats))
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)
    return target


def publish(repository: Path, model: str, file: Path, version: int) -> None:
    """Put a file into the repository as a version of a model: aside, then by one rename."""
    aside = repository / model / f".{version}.partial"
    aside.mkdir()
    shutil.copy(file, aside / MODEL_FILE)
    aside.rename(repository / model / str(version))


def _add(repository: Path, name: str, text: str, config: str) -> str:
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    (repository / name / "1").mkdir(parents=True)
    onnx.save(model, repository / name / "1" / MODEL_FILE)
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"{config}')
    return name
