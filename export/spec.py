"""What a model is: the one specification that everything downstream reads.

A `ModelSpec` travels inside the exported file (JSON in ``metadata_props``), so `model.onnx` alone is enough to write
its Triton configuration, to check it and to describe it to a client. This module is free of torch and of onnxruntime:
it is the only one that `neurips16.serving` takes from this package. A file may come from anybody, so every part checks
itself: its types, its bounds (``export/limits.py``) and that its names can do nothing but name.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurips16.export.errors import ExternalDataError as ExternalDataError
from neurips16.export.errors import NotAnOnnxFileError as NotAnOnnxFileError
from neurips16.export.errors import SpecError
from neurips16.export.limits import (
    MAX_BATCH_SIZE,
    MAX_BATCHING_DELAY_US,
    MAX_INSTANCES,
    MAX_JSON_BYTES,
    MAX_LABELS,
    MAX_LINE,
    MAX_NAME,
    MAX_STATE_BYTES,
    MAX_TEXT,
    check_depth,
    check_dims,
    check_flag,
    check_list,
    check_number,
    check_parameters,
    check_range,
    check_text,
    check_value,
    check_whole,
    shown,
)
from neurips16.export.model_file import open_model as open_model

METADATA_KEY = "neurips16.spec"
FORMAT_VERSION = 1
BATCH_DIM = "N"
STORED_WEIGHTS = (
    "stored_weights"  # a key of ModelSpec.provenance: "FP16" where large weights were rounded to halve the file
)
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # a folder of the model repository carries it

# What a specification asks for unless it has a reason: the exporter's own default opset, its best-trodden path, and the
# newest IR version that the oldest supported Triton release loads (a test holds them against serving/release.py).
DEFAULT_OPSET = 20
DEFAULT_IR_VERSION = 10

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


@dataclass(frozen=True)
class Tolerance:
    """How far an exported output may lie from the torch one: ``|got - want| <= atol + rtol * |want|``."""

    rtol: float
    atol: float
    reason: str  # why these numbers are enough and not too much

    def __post_init__(self) -> None:
        if not check_text("a tolerance's reason", self.reason, MAX_TEXT).strip():
            raise SpecError("a tolerance needs a reason: say why this much difference is expected")
        for name in ("rtol", "atol"):
            check_number(f"a tolerance's {name}", getattr(self, name))
        if not (0 <= self.rtol < 1 and 0 <= self.atol < float("inf")):
            raise SpecError(f"a tolerance lies in 0 <= rtol < 1, 0 <= atol < inf: got {self.rtol} and {self.atol}")


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
        # The names of files are made of it, so it has no separator and no dot.
        if not (check_text("a tensor's name", self.name, MAX_NAME).isidentifier() and self.name.isascii()):
            raise SpecError(f"tensor {self.name!r}: a tensor's name is an identifier in snake_case")
        what = f"tensor {self.name!r}"
        if check_text(f"{what}: dtype", self.dtype) not in DTYPES:
            raise SpecError(f"{what}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        check_dims(what, self.dims)
        check_text(f"{what}: description", self.description, MAX_TEXT)
        check_flag(f"{what}: optional", self.optional)
        if self.range is not None:
            check_range(f"{what}: range", self.range)
        if not isinstance(self.tolerance, (Tolerance, type(None))):
            raise SpecError(f"{what}: the tolerance is a {type(self.tolerance).__name__}")

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
    tolerance: Tolerance  # of one step
    initial: float = 0.0  # the value of every element at the start of a sequence

    def __post_init__(self) -> None:
        what = f"state {check_text('the name of a state', self.input, MAX_NAME)!r}"
        TensorSpec(self.input, self.dtype, self.dims, "", tolerance=self.tolerance)
        TensorSpec(self.output, self.dtype, self.dims, "", tolerance=self.tolerance)
        if any(isinstance(dim, str) for dim in self.dims) or self.dtype == "BYTES":
            raise SpecError(f"{what}: a state has fixed lengths and numbers, got {self.dtype} {self.dims}")
        check_value(f"{what}: initial", self.initial, np.dtype(DTYPES[self.dtype][0]))

    @property
    def byte_size(self) -> int:
        """The bytes that one sequence takes."""
        return math.prod(self.dims) * np.dtype(DTYPES[self.dtype][0]).itemsize


@dataclass(frozen=True)
class MetricGate:
    """The task's own metric, and how much of it the export may lose."""

    name: str  # as `neurips16 evaluate --json` prints it
    allowed_loss: float  # absolute
    reason: str
    lower_is_better: bool = False  # a rank, an error rate

    def __post_init__(self) -> None:
        check_text("a metric's name", self.name)
        check_flag(f"metric {self.name!r}: lower_is_better", self.lower_is_better)
        loss = check_number(f"metric {self.name!r}: allowed loss", self.allowed_loss)
        if not check_text("a metric's reason", self.reason, MAX_TEXT).strip() or not 0 <= loss < float("inf"):
            raise SpecError(f"metric {self.name!r}: state a finite allowed loss of at least 0, and its reason")


@dataclass(frozen=True)
class Op:
    """An operator of our own domain that the graph uses."""

    domain: str
    name: str

    def __post_init__(self) -> None:
        check_text("an operator's domain", self.domain, MAX_NAME)
        check_text("an operator's name", self.name, MAX_NAME)


@dataclass(frozen=True)
class ModelSpec:
    """Everything that is known about an exported model.

    Attributes:
        name: the model's name on the server.
        system: the system in ``training/`` that it came from.
        summary: one sentence, for people.
        inputs, outputs: the public tensors, batch axis first (named "N") when ``max_batch_size > 0``.
        max_batch_size: 0 for a model without a batch axis.
        instances: copies that a server runs at the same time: more than 1 where one run cannot keep several cores busy.
        batching_delay_us: how long a request waits for others to share its batch. It is most of a small model's
            latency, so 0 unless more is measured to help.
        states: sequence state, kept by the server between the requests of one sequence.
        labels: label names for each output whose last axis counts classes, or whose integers are numbers of classes.
        parameters: plain facts that a client needs (alphabet, rates, sizes), as strings. Their names are snake_case and
            begin with no word of a server's backend (`neurips16.export.limits`): nothing obeys them.
        metrics: the gates of the task's own metric.
        custom_ops: operators that need a function body or a native kernel.
        paper: title and section that specify the model.
        opset, ir_version: what the file is written for.
        provenance: where the weights came from (data, run, metrics), as JSON values.
    """

    name: str
    system: str
    summary: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    paper: str
    opset: int = DEFAULT_OPSET
    ir_version: int = DEFAULT_IR_VERSION
    instances: int = 1
    batching_delay_us: int = 0
    states: tuple[StateSpec, ...] = ()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    metrics: tuple[MetricGate, ...] = ()
    custom_ops: tuple[Op, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not MODEL_NAME.fullmatch(check_text("a model's name", self.name, MAX_NAME)):
            raise SpecError(
                f"model {self.name!r}: the name becomes a folder, so letters, digits, '_', '-' and '.' only"
            )
        what = f"model {self.name!r}"
        for name in ("system", "summary", "paper"):
            check_text(f"{what}: {name}", getattr(self, name), MAX_TEXT)
        check_whole(f"{what}: max_batch_size", self.max_batch_size, 0, MAX_BATCH_SIZE)
        check_whole(f"{what}: instances", self.instances, 1, MAX_INSTANCES)
        check_whole(f"{what}: batching_delay_us", self.batching_delay_us, 0, MAX_BATCHING_DELAY_US)
        check_whole(f"{what}: opset", self.opset, 1, 1000)
        check_whole(f"{what}: ir_version", self.ir_version, 1, 1000)
        check_list(f"{what}: inputs", self.inputs, TensorSpec)
        check_list(f"{what}: outputs", self.outputs, TensorSpec)
        check_list(f"{what}: states", self.states, StateSpec)
        check_list(f"{what}: metrics", self.metrics, MetricGate)
        check_list(f"{what}: custom_ops", self.custom_ops, Op)
        check_parameters(what, self.parameters)
        if not isinstance(self.provenance, dict):
            raise SpecError(f"{what}: the provenance is a {type(self.provenance).__name__}, expected values by name")
        check_depth(self.provenance)
        held = sum(state.byte_size for state in self.states)
        if held > MAX_STATE_BYTES:
            raise SpecError(f"{what}: the states of a sequence take {held} bytes, at most {MAX_STATE_BYTES} are kept")
        if not self.outputs:
            raise SpecError(f"model {self.name!r} declares no output")
        names = [t.name for t in (*self.graph_inputs, *self.graph_outputs)]
        if len(set(names)) != len(names):
            raise SpecError(f"model {self.name!r}: tensor names repeat: {', '.join(names)}")
        for tensor in (*self.graph_inputs, *self.graph_outputs):
            self._check_dims(tensor)
        for tensor in self.outputs:
            if tensor.tolerance is None:
                raise SpecError(f"model {self.name!r}: output {tensor.name!r} needs a tolerance (EXACT for integers)")
        self._check_labels()
        # Triton pairs states by the order of their names, so both lists must sort alike (its issue 8586).
        by_input = sorted(self.states, key=lambda s: s.input)
        if by_input != sorted(self.states, key=lambda s: s.output):
            raise SpecError(f"model {self.name!r}: state inputs and outputs must sort in the same order by name")

    def _check_dims(self, tensor: TensorSpec) -> None:
        batched = bool(tensor.dims) and tensor.dims[0] == BATCH_DIM
        if batched != (self.max_batch_size > 0):
            want = f"start with {BATCH_DIM!r}" if self.max_batch_size else f"not start with {BATCH_DIM!r}"
            raise SpecError(
                f"model {self.name!r}: max_batch_size is {self.max_batch_size}, so the dims of {tensor.name!r} "
                f"must {want}, got {tensor.dims}"
            )
        if len(tensor.dims) < 1 + batched:  # the server's configuration cannot say "a scalar"
            axis = "an axis of length 1 after the batch axis" if batched else "an axis of length 1"
            raise SpecError(f"model {self.name!r}: {tensor.name!r} has dims {tensor.dims}; give it {axis}")

    def _check_labels(self) -> None:
        outputs = {t.name: t for t in self.outputs}
        if not isinstance(self.labels, dict):
            raise SpecError(f"model {self.name!r}: labels are a {type(self.labels).__name__}, expected lists by output")
        for name, labels in self.labels.items():
            if name not in outputs:
                raise SpecError(f"model {self.name!r}: labels are given for {name!r}, which is no output")
            check_list(f"model {self.name!r}: labels of {name!r}", labels, str, MAX_LABELS)
            for label in labels:
                check_text(f"model {self.name!r}: a label of {name!r}", label, MAX_LINE)
            if any(not label.strip() or len(label.splitlines()) > 1 for label in labels):
                raise SpecError(f"model {self.name!r}: a label of {name!r} is empty or longer than a line")
            length = outputs[name].dims[-1]
            if outputs[name].numpy_dtype.kind in "iu":  # numbers of classes, which the labels name
                continue
            if isinstance(length, int) and length != len(labels):
                raise SpecError(f"model {self.name!r}: {name!r} counts {length} classes, got {len(labels)} labels")

    @property
    def graph_inputs(self) -> tuple[TensorSpec, ...]:
        """What the ONNX graph takes, in order: the public inputs, then the states of the step before."""
        return (*self.inputs, *(self._state_tensor(s, s.input) for s in self.states))

    @property
    def graph_outputs(self) -> tuple[TensorSpec, ...]:
        """What the ONNX graph gives, in order: the public outputs, then the states for the next step."""
        return (*self.outputs, *(self._state_tensor(s, s.output) for s in self.states))

    @property
    def class_labels(self) -> tuple[str, ...]:
        """The names of the model's classes; nothing where it has none, or several lists of them."""
        lists = set(self.labels.values())
        return lists.pop() if len(lists) == 1 else ()

    @property
    def client_parameters(self) -> dict[str, str]:
        """What a server's configuration tells clients: the parameters, and as ``labels`` the classes in JSON."""
        labels = {"labels": json.dumps(self.class_labels, ensure_ascii=False)} if self.class_labels else {}
        return {**labels, **self.parameters}

    def _state_tensor(self, state: StateSpec, name: str) -> TensorSpec:
        batch = (BATCH_DIM,) if self.max_batch_size else ()
        return TensorSpec(name, state.dtype, (*batch, *state.dims), "sequence state", tolerance=state.tolerance)

    def to_json(self) -> str:
        """The specification as JSON; `from_json` is its inverse.

        Raises:
            SpecError: the provenance holds what JSON cannot say.
        """
        raw = {"format": FORMAT_VERSION, **dataclasses.asdict(self)}
        try:
            return json.dumps(raw, ensure_ascii=False, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SpecError(f"model {self.name!r}: the specification cannot be written as JSON: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            SpecError: the text is not JSON, or of another format version, or contradicts itself.
        """
        if len(text) > MAX_JSON_BYTES:
            raise SpecError(f"the model's specification has {len(text)} characters, at most {MAX_JSON_BYTES} are read")
        try:
            raw = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:  # also a number of too many digits, and too deep a list
            raise SpecError(f"the model's specification is not JSON: {error}") from error
        check_depth(raw)
        if not isinstance(raw, dict):
            raise SpecError(f"the model's specification is a JSON {type(raw).__name__}, expected an object")
        version = raw.pop("format", None)
        if version != FORMAT_VERSION:
            raise SpecError(
                f"the specification has format {shown(version)}, this version reads {FORMAT_VERSION}: export it again"
            )
        try:
            return cls(
                **{
                    **raw,
                    "inputs": tuple(_tensor(t) for t in raw["inputs"]),
                    "outputs": tuple(_tensor(t) for t in raw["outputs"]),
                    "states": tuple(_state(s) for s in raw["states"]),
                    "labels": {k: tuple(v) for k, v in raw["labels"].items()},
                    "metrics": tuple(MetricGate(**m) for m in raw["metrics"]),
                    "custom_ops": tuple(Op(**o) for o in raw["custom_ops"]),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecError(
                f"the specification lacks a field, or has one too many or of another kind: {shown(str(error))}"
            ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it has {name} for a number")


def _tensor(raw: dict[str, Any]) -> TensorSpec:
    return TensorSpec(
        **{
            **raw,
            "dims": tuple(raw["dims"]),
            "range": tuple(raw["range"]) if raw["range"] else None,
            "tolerance": Tolerance(**raw["tolerance"]) if raw["tolerance"] else None,
        }
    )


def _state(raw: dict[str, Any]) -> StateSpec:
    return StateSpec(**{**raw, "dims": tuple(raw["dims"]), "tolerance": Tolerance(**raw["tolerance"])})


def embed_spec(model: Any, spec: ModelSpec) -> None:
    """Write ``spec`` into an ``onnx.ModelProto``, in place of any that it carried."""
    kept = [p for p in model.metadata_props if p.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())


def read_spec(model: str | Path | Any) -> ModelSpec:
    """The specification inside an ONNX file (a path, or an ``onnx.ModelProto``).

    Raises:
        SpecError: the file carries no specification of ours; also as `open_model`.
    """
    where = "the model"
    if isinstance(model, (str, Path)):
        where = str(model)
        model = open_model(model)
    for prop in model.metadata_props:
        if prop.key == METADATA_KEY:
            return ModelSpec.from_json(prop.value)
    raise SpecError(f"{where} carries no {METADATA_KEY!r} metadata: it was not written by `neurips16 export`")
