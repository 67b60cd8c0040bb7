"""KServe v2 over gRPC, without any IO: requests are made and replies are read here, for both clients.

A call is described by an `Rpc`; what is made of several calls is an operation, see `protocol.operation`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from google.protobuf.message import Message
from tritonclient.grpc import service_pb2

from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError

T = TypeVar("T")

# KServe v2 name -> (NumPy dtype, field of InferTensorContents for servers that answer with typed contents)
DTYPES: dict[str, tuple[np.dtype, str]] = {
    "BOOL": (np.dtype(np.bool_), "bool_contents"),
    "UINT8": (np.dtype(np.uint8), "uint_contents"),
    "UINT16": (np.dtype(np.uint16), "uint_contents"),
    "UINT32": (np.dtype(np.uint32), "uint_contents"),
    "UINT64": (np.dtype(np.uint64), "uint64_contents"),
    "INT8": (np.dtype(np.int8), "int_contents"),
    "INT16": (np.dtype(np.int16), "int_contents"),
    "INT32": (np.dtype(np.int32), "int_contents"),
    "INT64": (np.dtype(np.int64), "int64_contents"),
    "FP16": (np.dtype(np.float16), ""),  # has no typed contents in the protocol
    "FP32": (np.dtype(np.float32), "fp32_contents"),
    "FP64": (np.dtype(np.float64), "fp64_contents"),
    "BYTES": (np.dtype(np.object_), "bytes_contents"),
}
_NAMES = {dtype: name for name, (dtype, _) in DTYPES.items()}


@dataclass(frozen=True)
class Rpc(Generic[T]):
    """One call: what to send, how to read the reply, and what the client may do about it."""

    method: str  # of the service GRPCInferenceService
    request: Message
    decode: Callable[[Any], T]
    kind: Literal["control", "infer"] = "control"  # which time limit holds
    repeatable: bool = True  # whether doing it twice does no harm
    model: str = ""  # for the errors


@dataclass(frozen=True)
class SequenceStep:
    """Which sequence of requests an inference belongs to, for models that keep state.

    A server goes on with a sequence for whoever names its id, on any connection: so an id is a secret of who began it.
    `new_sequence_id` makes one that nobody guesses, and that no other caller happens to take.
    """

    id: int | str
    start: bool = False
    end: bool = False

    def __post_init__(self) -> None:
        if not self.id:
            raise InvalidInputError("a sequence's id is a number over 0 or a text that is not empty")


def new_sequence_id() -> int:
    """A random id for a sequence: over 0, and of 63 bits, which is what the protocol's numbers hold."""
    return 1 + secrets.randbelow(2**63 - 1)


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a model, as its server describes it."""

    name: str
    dtype: str  # a KServe v2 name
    dims: tuple[int, ...]  # without the batch axis; -1 is a free length


@dataclass(frozen=True)
class ModelConfig:
    """What a server says about one of its models."""

    name: str
    backend: str
    max_batch_size: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model in a server's repository."""

    name: str
    version: str  # "" where the server never tried to load the model
    ready: bool
    reason: str  # why it is not ready, where the server says


@dataclass(frozen=True)
class ServerMetadata:
    """What a server says about itself."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True)
class ModelStatistics:
    """What a server has counted of one version of a model since it was loaded."""

    name: str
    version: str
    inferences: int  # rows of batches
    executions: int  # runs of the model; fewer than rows where requests met in a batch
    succeeded: int  # requests
    failed: int
    mean_queue_ms: float  # of the requests that succeeded: waiting, and in the model
    mean_compute_ms: float


def server_metadata() -> Rpc[ServerMetadata]:
    """Ask the server what it is."""
    return Rpc(
        "ServerMetadata",
        service_pb2.ServerMetadataRequest(),
        lambda reply: ServerMetadata(reply.name, reply.version, tuple(reply.extensions)),
    )


def statistics(model: str = "") -> Rpc[list[ModelStatistics]]:
    """Ask what was counted of a loaded model, or of all, sorted by name and version."""
    return Rpc("ModelStatistics", service_pb2.ModelStatisticsRequest(name=model), _decode_counts, model=model)


def load(model: str) -> Rpc[None]:
    """Ask the server to load a model, which may take as long as an inference."""
    request = service_pb2.RepositoryModelLoadRequest(model_name=model)
    return Rpc("RepositoryModelLoad", request, lambda reply: None, kind="infer", model=model)


def unload(model: str) -> Rpc[None]:
    """Ask the server to unload a model."""
    request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
    return Rpc("RepositoryModelUnload", request, lambda reply: None, kind="infer", model=model)


def server_ready() -> Rpc[bool]:
    """Ask whether the server is ready for requests."""
    return Rpc("ServerReady", service_pb2.ServerReadyRequest(), lambda reply: bool(reply.ready))


def models() -> Rpc[list[ModelStatus]]:
    """Ask for every model of the repository, loaded or not, sorted by name and version."""
    # Not tried again: where the server keeps the index for its admins, it says UNAVAILABLE to all others.
    return Rpc("RepositoryIndex", service_pb2.RepositoryIndexRequest(), _decode_index, repeatable=False)


def loaded_models() -> Rpc[list[ModelStatus]]:
    """Ask for the models that are loaded, which everybody may, sorted by name and version."""
    return Rpc("ModelStatistics", service_pb2.ModelStatisticsRequest(), _decode_statistics)


def model_config(name: str) -> Rpc[ModelConfig]:
    """Ask for the configuration of a loaded model."""
    return Rpc("ModelConfig", service_pb2.ModelConfigRequest(name=name), _decode_config, model=name)


def infer(
    model: str,
    inputs: Mapping[str, Any],
    *,
    outputs: Iterable[str] | None = None,
    version: str = "",
    sequence: SequenceStep | None = None,
) -> Rpc[dict[str, np.ndarray]]:
    """Ask a model for its answer to ``inputs`` (anything that NumPy makes an array of, batch axis first).

    Raises:
        InvalidInputError: an input has a dtype that the protocol lacks.
    """
    request = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    for name, value in inputs.items():
        datatype, shape, raw = encode_tensor(name, value)
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(raw)
    for name in outputs or ():
        request.outputs.add(name=name)
    if sequence is not None:
        if isinstance(sequence.id, str):
            request.parameters["sequence_id"].string_param = sequence.id
        else:
            request.parameters["sequence_id"].int64_param = sequence.id
        request.parameters["sequence_start"].bool_param = sequence.start
        request.parameters["sequence_end"].bool_param = sequence.end
    return Rpc(
        "ModelInfer",
        request,
        decode_answer,
        kind="infer",
        # A step of a sequence that is done twice moves the state twice; the first step begins it afresh.
        repeatable=sequence is None or sequence.start,
        model=model,
    )


def encode_tensor(name: str, value: Any) -> tuple[str, tuple[int, ...], bytes]:
    """The KServe dtype, the shape and the bytes of an array; texts become BYTES in UTF-8.

    Raises:
        InvalidInputError: the protocol has no such dtype.
    """
    array = np.asarray(value)
    if array.dtype.kind in "SUO":
        return "BYTES", array.shape, b"".join(_encode_text(name, item) for item in array.ravel())
    datatype = _NAMES.get(array.dtype.newbyteorder("="))
    if datatype is None:
        raise InvalidInputError(f"input {name!r} has dtype {array.dtype}, the protocol has {', '.join(DTYPES)}")
    return datatype, array.shape, array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def decode_answer(reply: Any) -> dict[str, np.ndarray]:
    """The outputs of a ModelInferResponse by name; numbers are read-only views of the reply's bytes.

    Raises:
        UnexpectedReplyError: the reply contradicts itself.
    """
    raws = list(reply.raw_output_contents)
    if raws and len(raws) != len(reply.outputs):
        raise UnexpectedReplyError(f"the reply names {len(reply.outputs)} outputs and carries {len(raws)}")
    return {t.name: _decode_tensor(t, raws[i] if raws else None) for i, t in enumerate(reply.outputs)}


def _decode_tensor(tensor: Any, raw: bytes | None) -> np.ndarray:
    shape = tuple(tensor.shape)
    if tensor.datatype not in DTYPES:
        raise UnexpectedReplyError(f"output {tensor.name!r} has dtype {tensor.datatype!r}, which NumPy lacks")
    dtype, contents = DTYPES[tensor.datatype]
    if raw is None:
        values: Any = getattr(tensor.contents, contents) if contents else []
        flat = np.empty(len(values), dtype)
        flat[:] = values
    elif dtype.kind == "O":
        flat = _decode_texts(tensor.name, raw)
    elif len(raw) % dtype.itemsize:
        raise UnexpectedReplyError(f"output {tensor.name!r}: {len(raw)} bytes do not divide into {tensor.datatype}")
    else:
        flat = np.frombuffer(raw, dtype.newbyteorder("<"))
    if flat.size != np.prod(shape, dtype=np.int64):
        raise UnexpectedReplyError(f"output {tensor.name!r} has shape {list(shape)} but {flat.size} values")
    return flat.reshape(shape)


def _encode_text(name: str, item: Any) -> bytes:
    if isinstance(item, str):
        item = item.encode()
    if not isinstance(item, bytes):
        raise InvalidInputError(f"input {name!r} mixes texts with {type(item).__name__}: give one dtype")
    return len(item).to_bytes(4, "little") + item


def _decode_texts(name: str, raw: bytes) -> np.ndarray:
    items: list[bytes] = []
    at = 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw):
            raise UnexpectedReplyError(f"output {name!r}: a text ends beyond the reply")
        items.append(raw[at + 4 : end])
        at = end
    flat = np.empty(len(items), np.object_)
    flat[:] = items
    return flat


def _decode_index(reply: Any) -> list[ModelStatus]:
    found = [ModelStatus(m.name, m.version, m.state == "READY", " ".join(m.reason.split())) for m in reply.models]
    return sorted(found, key=_by_name)


def _decode_statistics(reply: Any) -> list[ModelStatus]:
    return sorted((ModelStatus(m.name, m.version, True, "") for m in reply.model_stats), key=_by_name)


def _decode_counts(reply: Any) -> list[ModelStatistics]:
    found = []
    for model in reply.model_stats:
        counts = model.inference_stats
        succeeded = counts.success.count
        found.append(
            ModelStatistics(
                name=model.name,
                version=model.version,
                inferences=model.inference_count,
                executions=model.execution_count,
                succeeded=succeeded,
                failed=counts.fail.count,
                mean_queue_ms=counts.queue.ns / 1e6 / max(1, succeeded),
                mean_compute_ms=counts.compute_infer.ns / 1e6 / max(1, succeeded),
            )
        )
    return sorted(found, key=_by_name)


def _by_name(status: ModelStatus | ModelStatistics) -> tuple[str, int, str]:
    return status.name, len(status.version), status.version  # version 2 before 10


def _decode_config(reply: Any) -> ModelConfig:
    config = reply.config
    return ModelConfig(
        name=config.name,
        backend=config.backend or config.platform,
        max_batch_size=config.max_batch_size,
        inputs=_tensors(config.input),
        outputs=_tensors(config.output),
        parameters={key: value.string_value for key, value in config.parameters.items()},
    )


def _tensors(tensors: Sequence[Any]) -> tuple[TensorInfo, ...]:
    # The enumeration's names are TYPE_FP32 and so on; only TYPE_STRING has another name in the protocol.
    names = [
        type(t).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[t.data_type].name for t in tensors
    ]
    dtypes = ["BYTES" if name == "TYPE_STRING" else name.removeprefix("TYPE_") for name in names]
    return tuple(TensorInfo(t.name, dtype, tuple(t.dims)) for t, dtype in zip(tensors, dtypes, strict=True))
