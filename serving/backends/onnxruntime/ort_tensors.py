"""The tensors of a model, as the ONNX file and as config.pbtxt have them, held against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# ONNX Runtime's name of an element type -> (config.pbtxt's, NumPy's). Triton knows no others that NumPy 1 has.
TYPES: dict[str, tuple[str, Any]] = {
    "tensor(bool)": ("TYPE_BOOL", np.bool_),
    "tensor(uint8)": ("TYPE_UINT8", np.uint8),
    "tensor(uint16)": ("TYPE_UINT16", np.uint16),
    "tensor(uint32)": ("TYPE_UINT32", np.uint32),
    "tensor(uint64)": ("TYPE_UINT64", np.uint64),
    "tensor(int8)": ("TYPE_INT8", np.int8),
    "tensor(int16)": ("TYPE_INT16", np.int16),
    "tensor(int32)": ("TYPE_INT32", np.int32),
    "tensor(int64)": ("TYPE_INT64", np.int64),
    "tensor(float16)": ("TYPE_FP16", np.float16),
    "tensor(float)": ("TYPE_FP32", np.float32),
    "tensor(double)": ("TYPE_FP64", np.float64),
    "tensor(string)": ("TYPE_STRING", np.object_),
}


class ConfigError(ValueError):
    """The configuration and the ONNX file, or the machine, contradict each other: the model does not load."""


@dataclass(frozen=True)
class Tensor:
    """One input or output of the ONNX file; ``dims`` have -1 for free axes and include the batch axis."""

    name: str
    type: str  # as config.pbtxt names it
    dims: tuple[int, ...]
    optional: bool = False  # an input with an initializer: the model can do without

    @property
    def numpy_type(self) -> Any:
        """The NumPy type of its elements (object for strings)."""
        return next(numpy for name, numpy in TYPES.values() if name == self.type)


def read_tensors(session: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The inputs and outputs of an `onnxruntime.InferenceSession`, by name.

    Raises:
        ConfigError: one has an element type that Triton does not know.
    """
    inputs = {node.name: _tensor(node) for node in session.get_inputs()}
    inputs.update({node.name: _tensor(node, optional=True) for node in session.get_overridable_initializers()})
    return inputs, {node.name: _tensor(node) for node in session.get_outputs()}


def _tensor(node: Any, *, optional: bool = False) -> Tensor:
    if node.type not in TYPES:
        raise ConfigError(f"tensor {node.name!r} is of type {node.type}, which cannot be served")
    dims = tuple(dim if isinstance(dim, int) else -1 for dim in node.shape)
    return Tensor(node.name, TYPES[node.type][0], dims, optional)


def check_tensors(config: Mapping[str, Any], inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
    """Hold a model configuration against the ONNX file.

    Raises:
        ConfigError: with everything that does not fit, not only the first.
    """
    states = config.get("sequence_batching", {}).get("state", [])
    controls = [control["name"] for control in config.get("sequence_batching", {}).get("control_input", [])]
    batched = config["max_batch_size"] > 0
    problems: list[str] = []
    for kind, tensors, declared in (
        ("input", inputs, [*config["input"], *_state_entries(states, "input_name")]),
        ("output", outputs, [*config["output"], *_state_entries(states, "output_name")]),
    ):
        for entry in declared:
            problem = _mismatch(entry, tensors.get(entry["name"]), batched)
            if problem:
                problems.append(f"{kind} {entry['name']!r} {problem}")
        if batched and not problems:
            problems += [
                f"{kind} {t.name!r} has the fixed first axis {t.dims[:1]}: max_batch_size must be 0 or the axis free"
                for t in tensors.values()
                if not t.optional and t.dims[:1] != (-1,)
            ]
    known = {entry["name"] for entry in config["input"]} | {state["input_name"] for state in states} | set(controls)
    problems += [
        f"input {name!r} of the file is not in the configuration"
        for name, tensor in inputs.items()
        if name not in known and not tensor.optional
    ]
    problems += [f"control input {name!r} is not in the file" for name in controls if name not in inputs]
    if problems:
        raise ConfigError("the configuration does not fit the ONNX file: " + "; ".join(problems))


def _state_entries(states: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{"name": s[name], "data_type": s["data_type"], "dims": s["dims"]} for s in states]


def _mismatch(entry: Mapping[str, Any], tensor: Tensor | None, batched: bool) -> str | None:
    if tensor is None:
        return "is not in the file"
    if entry["data_type"] != tensor.type:
        return f"is {entry['data_type']}, in the file {tensor.type}"
    shape = entry.get("reshape", {}).get("shape", entry["dims"])
    dims = (*((-1,) if batched else ()), *(int(dim) for dim in shape))
    fits = len(dims) == len(tensor.dims) and all(
        own == -1 or own == dim for own, dim in zip(tensor.dims, dims, strict=True)
    )
    # A free axis of the configuration over a fixed one of the file would let through what cannot be computed.
    return None if fits else f"has dims {list(dims)}, in the file {list(tensor.dims)}"


def completed(config: Mapping[str, Any], inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a configuration without inputs and outputs should say: ``max_batch_size``, ``input``, ``output``.

    A model whose tensors all have a free first axis is taken for batched, with the server's default of
    ``max_batch_size``, as the C++ backend does.

    Raises:
        ConfigError: the configuration asks for batches of a model that cannot have them.
    """
    default_max_batch_size = 4  # the server's own default, which it does not tell a Python-based backend
    required = [t for t in (*inputs.values(), *outputs.values()) if not t.optional]
    batched = all(tensor.dims[:1] == (-1,) for tensor in required)
    if config["max_batch_size"] > 0 and not batched:
        fixed = ", ".join(repr(t.name) for t in required if t.dims[:1] != (-1,))
        raise ConfigError(f"max_batch_size is {config['max_batch_size']}, but {fixed} have no free first axis")
    states = config.get("sequence_batching", {})
    hidden = {control["name"] for control in states.get("control_input", [])}
    for state in states.get("state", []):
        hidden |= {state["input_name"], state["output_name"]}

    def entries(tensors: Mapping[str, Tensor], *, with_optional: bool) -> list[dict[str, Any]]:
        listed = []
        for tensor in tensors.values():
            if tensor.name in hidden:
                continue
            dims = list(tensor.dims[1:] if batched else tensor.dims)
            entry = {"name": tensor.name, "data_type": tensor.type, "dims": dims}
            listed.append({**entry, "optional": True} if with_optional and tensor.optional else entry)
        return listed

    size = (config["max_batch_size"] or default_max_batch_size) if batched else 0
    return {
        "max_batch_size": size,
        "input": entries(inputs, with_optional=True),
        "output": entries(outputs, with_optional=False),
    }
