"""A torch module becomes one self-describing ONNX file.

    module + example inputs + ModelSpec ──torch.export──► ONNX graph ──► names, axes, opset, IR pinned
        ──► function bodies of our own operators attached ──► specification embedded ──► checked ──► model.onnx

The module is called with keywords: its ``forward`` takes the specification's input names and returns either a dict with
the specification's output names, or a tensor or tuple in the specification's order.

Our own operators leave torch as opaque nodes, and their function bodies are attached afterwards: the exporter's opset
conversion would inline a function that it finds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnx.checker
import onnx.inliner
import onnx_ir
import torch
from torch import nn

from neurips16.export import ops
from neurips16.export.errors import ExportError, OperatorError, SignatureError
from neurips16.export.graph.signature import check_signature, dims_of
from neurips16.export.graph.weights import round_weights, store_as_fp16
from neurips16.export.spec import STORED_WEIGHTS, ModelSpec, TensorSpec, embed_spec

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
MAX_FILE_BYTES = 2**31 - 1  # protobuf's limit; weights are always inside the file, so that one file is the whole model


def export_module(
    module: nn.Module,
    example_inputs: Mapping[str, torch.Tensor] | Sequence[torch.Tensor],
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    inline: bool = False,
    fp16_weights: bool = False,
) -> Path:
    """Write ``module`` as the ONNX file ``path``, with ``spec`` inside.

    Args:
        module: in evaluation mode; see above for how it is called.
        example_inputs: one tensor for each of ``spec.graph_inputs``, by name or in that order. Every named axis is at
            least 2 long, since torch takes an example length of 0 or 1 for a constant.
        spec: what the model is; every named axis, and no other, is free in the file and carries the same name there.
        path: where the file goes; its folder must exist.
        inline: replace our own operators by their function bodies, for runtimes that do not know ONNX functions.
        fp16_weights: round large weights to FP16 and store them so (half the size); they are cast back to FP32 when
            the model is loaded, and all arithmetic stays FP32. ``spec.provenance`` in the file says so.

    Returns:
        ``path``.

    Raises:
        SignatureError: the graph's tensors or axes are not what ``spec`` says; every difference is listed.
        OperatorError: the graph's own operators are not ``spec.custom_ops``.
        ExportError: torch could not export the module, or ONNX's checker refuses the graph.
    """
    path = Path(path)
    if any(part.training for part in module.modules()):
        raise ExportError(f"{spec.name}: the module is in training mode; call module.eval() before exporting it")
    inputs = _example(spec, example_inputs)
    if fp16_weights:
        module = round_weights(module)
        spec = dataclasses.replace(spec, provenance={**spec.provenance, STORED_WEIGHTS: "FP16"})

    model = _trace(module, inputs, spec)
    _strip(model)
    problems = _name_axes(model, spec)
    if problems:
        raise SignatureError(_listed(f"{spec.name}: the graph is not what the specification says", problems))
    if fp16_weights:
        store_as_fp16(model.graph)
    _attach_functions(model, spec)
    if inline:
        model = onnx.inliner.inline_local_functions(model)
        standard = [entry for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
        del model.opset_import[:]
        model.opset_import.extend(standard)
        spec = dataclasses.replace(spec, custom_ops=())
    model.ir_version = spec.ir_version
    model.doc_string = spec.summary
    embed_spec(model, spec)
    _save(model, path)
    _check_saved(path, spec)
    return path


def call_by_name(
    module: nn.Module, inputs: Mapping[str, torch.Tensor], output_names: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Call ``module`` with keywords and name its outputs.

    Raises:
        SignatureError: the outputs are not ``output_names``.
    """
    result = module(**inputs)
    if isinstance(result, Mapping):
        if set(result) != set(output_names):
            raise SignatureError(
                f"the module returns {', '.join(map(str, result))}; the specification says {', '.join(output_names)}"
            )
        return {name: result[name] for name in output_names}
    values = (result,) if isinstance(result, torch.Tensor) else tuple(result)
    if len(values) != len(output_names):
        raise SignatureError(
            f"the module returns {len(values)} tensors; the specification says {len(output_names)}: "
            f"{', '.join(output_names)}"
        )
    return dict(zip(output_names, values, strict=True))


class _InSpecOrder(nn.Module):
    """The module as torch.export likes it: tensors in and out by position, in the specification's order."""

    def __init__(self, module: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.module = module
        self.input_names = [tensor.name for tensor in spec.graph_inputs]
        self.output_names = [tensor.name for tensor in spec.graph_outputs]

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(self.input_names, tensors, strict=True))
        return tuple(call_by_name(self.module, named, self.output_names).values())


def _example(spec: ModelSpec, example: Mapping[str, torch.Tensor] | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The example inputs in the specification's order, held against it."""
    names = [tensor.name for tensor in spec.graph_inputs]
    if isinstance(example, Mapping):
        if set(example) != set(names):
            raise SignatureError(
                f"{spec.name}: the example has {', '.join(example)}; the specification says {', '.join(names)}"
            )
        example = [example[name] for name in names]
    if len(example) != len(names):
        raise SignatureError(f"{spec.name}: the example has {len(example)} tensors, the specification {len(names)}")
    problems = [p for t, value in zip(spec.graph_inputs, example, strict=True) for p in _example_problems(t, value)]
    if problems:
        raise SignatureError(_listed(f"{spec.name}: the example inputs do not fit the specification", problems))
    return tuple(example)


def _example_problems(tensor: TensorSpec, value: torch.Tensor) -> Iterator[str]:
    if tensor.optional:
        yield f"{tensor.name!r} is optional: a traced graph takes every input, so declare a default value of its own"
    want = str(tensor.numpy_dtype)
    if str(value.dtype).removeprefix("torch.") != want:
        yield f"{tensor.name!r} is {value.dtype}, expected {want}"
    if value.dim() != len(tensor.dims):
        yield f"{tensor.name!r} has shape {tuple(value.shape)}, expected {tensor.dims}"
        return
    for axis, (length, dim) in enumerate(zip(value.shape, tensor.dims, strict=True)):
        if isinstance(dim, int) and length != dim:
            yield f"{tensor.name!r}: axis {axis} is {length} long, expected {dim}"
        if isinstance(dim, str) and length < 2:
            yield f"{tensor.name!r}: axis {axis} ({dim}) is {length} long; torch makes 0 and 1 constant: take 2 or more"


def _trace(module: nn.Module, inputs: tuple[torch.Tensor, ...], spec: ModelSpec) -> onnx.ModelProto:
    free = torch.export.Dim.DYNAMIC  # unlike Dim.AUTO, an axis that turns constant is an error
    shapes = tuple({i: free for i, d in enumerate(t.dims) if isinstance(d, str)} for t in spec.graph_inputs)
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _InSpecOrder(module, spec).eval(),
                inputs,
                dynamo=True,
                dynamic_shapes=(shapes,),
                opset_version=spec.opset,
                custom_translation_table=ops.custom_translation_table(),
                optimize=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = error.__cause__ or error
            raise ExportError(f"{spec.name}: torch could not export the module: {cause}") from error
    if program is None:
        raise ExportError(f"{spec.name}: torch.onnx.export returned no program")
    _name_tensors(program.model.graph, spec)
    return program.model_proto


def _name_tensors(graph: onnx_ir.Graph, spec: ModelSpec) -> None:
    """Give the graph's inputs and outputs the specification's names.

    The exporter can do so itself, but does not see to it that a value inside the graph, named after its operator, has
    not the same name already (an output ``embedding`` behind an Embedding layer).
    """
    ends = [*zip(graph.inputs, spec.graph_inputs, strict=False), *zip(graph.outputs, spec.graph_outputs, strict=False)]
    final = {id(value): tensor.name for value, tensor in ends}
    taken = set(final.values())
    inner = (value for node in graph.all_nodes() for value in node.outputs)
    for value in (*graph.initializers.values(), *inner):
        if id(value) not in final and value.name in taken:
            value.name = f"{value.name}.inner"
    for value, tensor in ends:
        value.name = tensor.name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence two known remarks of the exporter that say nothing about our model; any other still comes through."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "torchvision is not installed": we do not use it
    try:
        with warnings.catch_warnings():
            # torch copies its own tree specifications through a constructor that it has itself deprecated.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes (stack traces with this machine's paths) and inferred shapes (readers infer them)."""
    del model.metadata_props[:]
    for graph in graphs(model.graph):
        del graph.value_info[:]
        del graph.metadata_props[:]
        for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
            del part.metadata_props[:]


def _name_axes(model: onnx.ModelProto, spec: ModelSpec) -> list[str]:
    """Give every free axis of the graph's inputs and outputs the name that ``spec`` has for it; return the problems.

    torch names a free axis by a symbol (``s67``), and an axis that is computed by an expression (``s67 - 4``).
    """
    problems: list[str] = []
    names: dict[str, str] = {}  # symbol or expression -> our name
    from_inputs = {d for t in spec.graph_inputs for d in t.dims if isinstance(d, str)}
    pairs = [
        *(("input", v, t) for v, t in zip(model.graph.input, spec.graph_inputs, strict=False)),
        *(("output", v, t) for v, t in zip(model.graph.output, spec.graph_outputs, strict=False)),
    ]
    for kind, value, tensor in pairs:
        for axis, (symbol, name) in enumerate(zip(dims_of(value), tensor.dims, strict=False)):
            if not isinstance(symbol, str):
                continue  # a constant: check_signature says what is wrong with it, if anything is
            readable = re.sub(r"\w+", lambda m: names.get(m[0], m[0]), symbol)
            if not isinstance(name, str):
                value.type.tensor_type.shape.dim[axis].dim_param = readable  # wrong, and check_signature will say so
                continue
            where = f"{kind} {tensor.name!r}: axis {axis}"
            if symbol in names and names[symbol] != name:
                problems.append(f"{where} is declared {name!r}, but the graph makes it equal to {names[symbol]!r}")
            elif kind == "output" and symbol not in names and name in from_inputs:
                problems.append(f"{where} is declared {name!r}, but the graph computes {readable!r}")
            else:
                names[symbol] = name
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return problems + check_signature(model, spec)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """``graph`` and every graph inside it (the bodies of Loop, If and Scan)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from graphs(inner)


def _attach_functions(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Give each operator of our own the function body that lets any ONNX runtime run it."""
    if model.functions:  # the exporter's own helpers: plain ONNX underneath
        model.CopyFrom(onnx.inliner.inline_local_functions(model))
    used = {
        (node.domain, node.op_type)
        for graph in graphs(model.graph)
        for node in graph.node
        if node.domain not in STANDARD_DOMAINS
    }
    declared = {(op.domain, op.name) for op in spec.custom_ops}
    if used != declared:
        raise OperatorError(
            f"{spec.name}: the graph uses the operators {_ops(used)}, the specification names {_ops(declared)}: "
            f"make ModelSpec.custom_ops say what the graph uses"
        )
    if not declared:
        return
    bodies = ops.function_bodies(sorted(name for _, name in declared), spec.opset)
    given = {(body.domain, body.name) for body in bodies}
    if given != declared:
        raise OperatorError(f"{spec.name}: export.ops has bodies for {_ops(given)}, needed are {_ops(declared)}")
    other = {o.version for body in bodies for o in body.opset_import if o.domain == ""} - {spec.opset}
    if other:  # ONNX's inliner would pass over them silently
        raise OperatorError(f"{spec.name}: bodies of {_ops(given)} have opset {other}, the model has {spec.opset}")
    model.functions.extend(bodies)
    imported = {entry.domain for entry in model.opset_import}
    for domain in sorted({domain for domain, _ in declared} - imported):
        model.opset_import.add(domain=domain, version=1)


def _ops(ops: set[tuple[str, str]]) -> str:
    return ", ".join(f"{domain}::{name}" for domain, name in sorted(ops)) or "none"


def _save(model: onnx.ModelProto, path: Path) -> None:
    size = model.ByteSize()
    if size > MAX_FILE_BYTES:
        raise ExportError(f"{path}: the model has {size / 2**30:.1f} GiB, one ONNX file holds less than 2 GiB")
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(model.SerializeToString(deterministic=True))
    partial.replace(path)


def _check_saved(path: Path, spec: ModelSpec) -> None:
    """Hold what is on the disk, not what we think we wrote, against the specification."""
    model = onnx.load(path)
    problems = check_signature(model, spec)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset != spec.opset:
        problems.append(f"the file has opset {opset}, the specification says {spec.opset}")
    if model.ir_version != spec.ir_version:
        problems.append(f"the file has IR version {model.ir_version}, the specification says {spec.ir_version}")
    if problems:
        raise SignatureError(_listed(f"{path}: the saved graph is not what the specification says", problems))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path}: ONNX's checker refuses the graph: {error}") from error


def _listed(title: str, problems: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *(f"  - {problem}" for problem in problems)])
