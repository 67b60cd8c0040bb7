"""What a model is: the one specification that everything downstream reads.

A `ModelSpec` travels inside the exported file (JSON in ``metadata_props``), so `model.onnx` alone is enough to write
its Triton configuration, to check it and to describe it to a client. This module is free of torch and of onnxruntime:
it is the only one that `neurips16.serving` takes from this room.

    SpecError (ValueError)      a specification that contradicts itself, or a file that carries none
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

METADATA_KEY = "neurips16.spec"
FORMAT_VERSION = 1
BATCH_DIM = "N"

# KServe v2 name -> (NumPy dtype, ONNX TensorProto.DataType, protobuf name in config.pbtxt)
DTYPES: dict[str, tuple[Any, int, str]] = {
    "BOOL": (np.bool_, 9, "TYPE_BOOL"),
    "UINT8": (np.uint8, 2, "TYPE_UINT8"),
    "INT8": (np.int8, 3, "TYPE_INT8"),
    "INT32": (np.int32, 6, "TYPE_INT32"),
    "INT64": (np.int64, 7, "TYPE_INT64"),
    "FP16": (np.float16, 10, "TYPE_FP16"),
    "FP32": (np.float32, 1, "TYPE_FP32"),
    "FP64": (np.float64, 11, "TYPE_FP64"),
    "BYTES": (np.object_, 8, "TYPE_STRING"),
}


class SpecError(ValueError):
    """A specification that contradicts itself, or an ONNX file that carries none."""

    exit_status = 2


@dataclass(frozen=True)
class Tolerance:
    """How far an exported output may lie from the torch one: ``|got - want| <= atol + rtol * |want|``."""

    rtol: float
    atol: float
    reason: str  # why these numbers are enough and not too much

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise SpecError("a tolerance needs a reason: say why this much difference is expected")
        if self.rtol < 0 or self.atol < 0:
            raise SpecError(f"a tolerance is not negative, got rtol={self.rtol}, atol={self.atol}")


EXACT = Tolerance(0.0, 0.0, "integers: there is nothing to round")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. ``dims`` are named (a free axis, the same name meaning the same length) or fixed ints."""

    name: str
    dtype: str  # a key of DTYPES
    dims: tuple[str | int, ...]  # the batch axis included, and named "N", where the model is batched
    description: str
    range: tuple[float, float] | None = None  # permitted values, both ends included
    tolerance: Tolerance | None = None  # outputs only
    optional: bool = False  # inputs only

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SpecError(f"tensor {self.name!r}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        for dim in self.dims:
            if not (isinstance(dim, str) and dim.isidentifier()) and not (isinstance(dim, int) and dim > 0):
                raise SpecError(f"tensor {self.name!r}: dim {dim!r} is neither a name nor a positive length")

    @property
    def numpy_dtype(self) -> np.dtype:
        """The NumPy dtype of the values."""
        return np.dtype(DTYPES[self.dtype][0])


@dataclass(frozen=True)
class StateSpec:
    """A pair of tensors that carries a sequence's state from one request to the next."""

    input: str
    output: str
    dtype: str
    dims: tuple[int, ...]  # without the batch axis; states have fixed sizes
    initial: float = 0.0  # the value of every element at the start of a sequence


@dataclass(frozen=True)
class MetricGate:
    """The task's own metric, and how much of it the export may lose."""

    name: str  # as `neurips16 evaluate --json` prints it
    allowed_loss: float  # absolute
    reason: str


@dataclass(frozen=True)
class Op:
    """An operator of our own domain that the graph uses."""

    domain: str
    name: str


@dataclass(frozen=True)
class ModelSpec:
    """Everything that is known about an exported model.

    Attributes:
        name: the model's name on the server.
        system: the system in ``training/`` that it came from.
        summary: one sentence, for people.
        inputs, outputs: the public tensors, batch axis first (named "N") when ``max_batch_size > 0``.
        max_batch_size: 0 for a model without a batch axis.
        states: sequence state, kept by the server between the requests of one sequence.
        labels: label names for each output whose last axis counts classes.
        parameters: plain facts that a client needs (alphabet, rates, sizes), as strings.
        metrics: the gates of the task's own metric.
        custom_ops: operators that need a function body or a native kernel.
        opset, ir_version: what the file was written for.
        paper: title and section that specify the model.
        provenance: where the weights came from (data, run, metrics), as JSON values.
    """

    name: str
    system: str
    summary: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    opset: int
    ir_version: int
    paper: str
    states: tuple[StateSpec, ...] = ()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: tuple[MetricGate, ...] = ()
    custom_ops: tuple[Op, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [t.name for t in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise SpecError(f"model {self.name!r}: tensor names repeat: {', '.join(names)}")
        if not self.outputs:
            raise SpecError(f"model {self.name!r} declares no output")
        for tensor in (*self.inputs, *self.outputs):
            batched = bool(tensor.dims) and tensor.dims[0] == BATCH_DIM
            if batched != (self.max_batch_size > 0):
                want = f"start with {BATCH_DIM!r}" if self.max_batch_size else f"not start with {BATCH_DIM!r}"
                raise SpecError(
                    f"model {self.name!r}: max_batch_size is {self.max_batch_size}, so the dims of {tensor.name!r} "
                    f"must {want}, got {tensor.dims}"
                )
        for tensor in self.outputs:
            if tensor.tolerance is None:
                raise SpecError(f"model {self.name!r}: output {tensor.name!r} needs a tolerance (EXACT for integers)")
        for output in self.labels:
            if output not in {t.name for t in self.outputs}:
                raise SpecError(f"model {self.name!r}: labels are given for {output!r}, which is no output")
        # The server pairs states by the order of their names: both lists must sort alike (DESIGN: a server bug).
        by_input = sorted(self.states, key=lambda s: s.input)
        if by_input != sorted(self.states, key=lambda s: s.output):
            raise SpecError(f"model {self.name!r}: state inputs and outputs must sort in the same order by name")

    def to_json(self) -> str:
        """The specification as JSON; `from_json` is its inverse."""
        return json.dumps({"format": FORMAT_VERSION, **dataclasses.asdict(self)}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            SpecError: the text is not JSON, or of another format version, or contradicts itself.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise SpecError(f"the model's specification is not JSON: {error}") from error
        version = raw.pop("format", None)
        if version != FORMAT_VERSION:
            raise SpecError(f"the specification has format {version}, this version reads {FORMAT_VERSION}: export anew")
        try:
            return cls(
                **{
                    **raw,
                    "inputs": tuple(_tensor(t) for t in raw["inputs"]),
                    "outputs": tuple(_tensor(t) for t in raw["outputs"]),
                    "states": tuple(StateSpec(**{**s, "dims": tuple(s["dims"])}) for s in raw["states"]),
                    "labels": {k: tuple(v) for k, v in raw["labels"].items()},
                    "metrics": tuple(MetricGate(**m) for m in raw["metrics"]),
                    "custom_ops": tuple(Op(**o) for o in raw["custom_ops"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise SpecError(f"the specification lacks a field or has one too many: {error}") from error


def _tensor(raw: dict[str, Any]) -> TensorSpec:
    return TensorSpec(
        **{
            **raw,
            "dims": tuple(raw["dims"]),
            "range": tuple(raw["range"]) if raw["range"] else None,
            "tolerance": Tolerance(**raw["tolerance"]) if raw["tolerance"] else None,
        }
    )


def embed_spec(model: Any, spec: ModelSpec) -> None:
    """Write ``spec`` into an ``onnx.ModelProto``, in place of any that it carried."""
    kept = [p for p in model.metadata_props if p.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())


def read_spec(model: str | Path | Any) -> ModelSpec:
    """The specification inside an ONNX file (a path, or an ``onnx.ModelProto``).

    Raises:
        SpecError: the file carries no specification of ours.
    """
    where = "the model"
    if isinstance(model, (str, Path)):
        import onnx

        where = str(model)
        model = onnx.load(where, load_external_data=False)
    for prop in model.metadata_props:
        if prop.key == METADATA_KEY:
            return ModelSpec.from_json(prop.value)
    raise SpecError(f"{where} carries no {METADATA_KEY!r} metadata: it was not written by `neurips16 export`")
