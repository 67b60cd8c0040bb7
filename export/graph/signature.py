"""The graph's inputs and outputs, held against the specification: names, types and axes.

One check serves two gates: the exporter refuses to save what it finds wrong, parity refuses to publish it.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from neurips16.export.spec import DTYPES, ModelSpec, TensorSpec


def check_signature(model: onnx.ModelProto, spec: ModelSpec) -> list[str]:
    """Everything in which the graph's tensors differ from ``spec``: one sentence each, empty when they agree."""
    # An initializer that is also listed as an input is a default value, not a tensor that a caller must give.
    defaults = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in defaults]
    return [
        *_compare("input", inputs, spec.graph_inputs),
        *_compare("output", model.graph.output, spec.graph_outputs),
    ]


def dims_of(value: onnx.ValueInfoProto) -> tuple[str | int | None, ...]:
    """The axes of a graph input or output: a name, a length, or None where the file says neither."""
    named = {"dim_param": lambda d: d.dim_param, "dim_value": lambda d: d.dim_value}
    dims = value.type.tensor_type.shape.dim
    return tuple(named[d.WhichOneof("value")](d) if d.WhichOneof("value") else None for d in dims)


def _compare(kind: str, found: Sequence[onnx.ValueInfoProto], declared: Sequence[TensorSpec]) -> list[str]:
    names, wanted = [value.name for value in found], [tensor.name for tensor in declared]
    problems = []
    if names != wanted:
        what = "another order" if sorted(names) == sorted(wanted) else "other names"
        problems.append(f"{kind}s have {what}: got {', '.join(names)}; the specification says {', '.join(wanted)}")
    by_name = {value.name: value for value in found}
    for tensor in declared:
        if tensor.name in by_name:
            problems += _compare_one(kind, by_name[tensor.name], tensor)
    return problems


def _compare_one(kind: str, value: onnx.ValueInfoProto, tensor: TensorSpec) -> list[str]:
    problems = []
    code = value.type.tensor_type.elem_type
    if code != DTYPES[tensor.dtype][1]:
        got = onnx.TensorProto.DataType.Name(code)
        problems.append(f"{kind} {tensor.name!r}: the type is {got}, the specification says {tensor.dtype}")
    dims = dims_of(value)
    if len(dims) != len(tensor.dims):
        problems.append(f"{kind} {tensor.name!r}: the axes are {dims}, the specification says {tensor.dims}")
        return problems
    for axis, (got, want) in enumerate(zip(dims, tensor.dims, strict=True)):
        if got == want:
            continue
        if isinstance(want, str):
            how = f"became constant ({got})" if isinstance(got, int) else f"is named {got!r}"
            problems.append(f"{kind} {tensor.name!r}: axis {axis} {how}, the specification names it {want!r}")
        else:
            problems.append(f"{kind} {tensor.name!r}: axis {axis} is {got!r}, the specification fixes it at {want}")
    return problems
