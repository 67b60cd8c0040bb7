"""The calls that any KServe v2 server answers, whatever its models are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import (
    DeadlineExceededError,
    InvalidInputError,
    InvalidRequestError,
    ServerUnavailableError,
    TLSRefusedError,
    UnsupportedError,
)
from neurips16.clients.protocol.messages import (
    ModelConfig,
    ModelStatistics,
    ModelStatus,
    SequenceStep,
    ServerMetadata,
    TensorInfo,
)
from neurips16.clients.protocol.model_index import known_models
from neurips16.clients.protocol.operation import Operation, single


def server_ready() -> Operation[bool]:
    """Whether a server answers and says that it and its models are ready.

    Raises:
        TLSRefusedError: a server listens, and one side refuses the other.
    """
    try:
        return (yield from single(messages.server_ready()))
    except TLSRefusedError:
        raise
    except (ServerUnavailableError, DeadlineExceededError):
        return False


def require_server_ready() -> Operation[None]:
    """Go on only if the server is ready.

    Raises:
        ServerUnavailableError: no server answers, or it is not ready.
    """
    if not (yield from single(messages.server_ready())):
        text = "the server answers, but it or one of its models is not ready: see `neurips16 models`"
        raise ServerUnavailableError(text, code=grpc.StatusCode.UNAVAILABLE)


def metadata() -> Operation[ServerMetadata]:
    """The server's name, its version, and the extensions of the protocol that it has."""
    return (yield from single(messages.server_metadata()))


def models() -> Operation[list[ModelStatus]]:
    """Every model of the server's repository, loaded or not.

    Where that is for who has the admin token, and no header holds it, the loaded ones only.
    """
    return (yield from known_models())


def model_config(name: str) -> Operation[ModelConfig]:
    """The configuration of a loaded model: tensors, batch size and parameters."""
    return (yield from single(messages.model_config(name)))


def statistics(model: str = "") -> Operation[list[ModelStatistics]]:
    """What the server has counted: requests, failures and times of one loaded model, or of all.

    Args:
        model: its name; empty for all.
    """
    return (yield from single(messages.statistics(model)))


def load(model: str) -> Operation[None]:
    """Load a model of the server's repository, or load it again where its files have changed. For admins.

    Args:
        model: its name.
    """
    yield from single(messages.load(model))


def unload(model: str) -> Operation[None]:
    """Unload a model; it stays in the repository. For admins.

    Args:
        model: its name.
    """
    yield from single(messages.unload(model))


def infer(
    model: str,
    inputs: Mapping[str, Any],
    *,
    outputs: Iterable[str] | None = None,
    version: str = "",
    sequence: SequenceStep | None = None,
) -> Operation[dict[str, np.ndarray]]:
    """A model's outputs by name, as read-only arrays.

    Args:
        model: its name on the server.
        inputs: arrays by name, batch axis first, each with the model's dtype; lists of numbers become arrays of it.
        outputs: the names wanted; all, if None.
        version: of the model; the server's choice, if empty.
        sequence: for a model with state. Only a first step is tried again: a repeated later one would move the state
            twice. `neurips16.clients.protocol.sequence.Sequence` keeps count.

    Raises:
        InvalidInputError: an input has a dtype that the protocol lacks, or a list does not fit the model's dtype.
        InvalidRequestError: the model does not take these inputs; the text says what it takes.
    """
    names = None if outputs is None else list(outputs)
    if any(not isinstance(value, (np.ndarray, np.generic)) for value in inputs.values()):
        config = yield from _config(model)
        known = {tensor.name: tensor for tensor in config.inputs} if config else {}
        inputs = {name: _cast(value, known[name]) if name in known else value for name, value in inputs.items()}
    rpc = messages.infer(model, inputs, outputs=names, version=version, sequence=sequence)
    try:
        return (yield from single(rpc))
    except InvalidRequestError as error:
        config = yield from _config(model)
        if config is None or not (reasons := list(_reasons(config, inputs))):
            raise
        raise InvalidRequestError(
            f"model {model!r} does not take these inputs: {'; '.join(reasons)}", code=error.code, model=model
        ) from error


def _config(model: str) -> Operation[ModelConfig | None]:
    """A model's configuration; None from a server of another make, whose protocol need not have it."""
    try:
        return (yield from model_config(model))
    except UnsupportedError:
        return None


def _cast(value: Any, tensor: TensorInfo) -> Any:
    """What is no array yet, as the model's dtype; whole numbers have to fit, floating-point ones may be rounded."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of unequal lengths
        raise InvalidInputError(f"input {tensor.name!r} is no array: {error}") from error
    dtype, _ = messages.DTYPES.get(tensor.dtype, (array.dtype, ""))
    if array.dtype.kind not in "biuf" or dtype.kind == "O" or array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
        fits = np.isinf(cast) == np.isinf(array) if dtype.kind == "f" else (cast == array) & (dtype.kind != "b")
    if not np.all(fits):
        raise InvalidInputError(f"input {tensor.name!r} holds {array[~fits].flat[0]}, which is no {tensor.dtype}")
    return cast


def _reasons(config: ModelConfig, inputs: Mapping[str, Any]) -> Iterable[str]:
    """What of the inputs is not as the model's configuration has it."""
    batched = config.max_batch_size > 0
    known = {tensor.name: tensor for tensor in config.inputs}
    for name in inputs:
        if name not in known:
            yield f"it has no input {name!r}, but {', '.join(sorted(known))}"
    for name, tensor in known.items():
        wanted = ["N", *tensor.dims] if batched else list(tensor.dims)
        shown = f"{tensor.dtype} [{', '.join('?' if dim == -1 else str(dim) for dim in wanted)}]"
        if name not in inputs:
            yield f"its input {name!r}, {shown}, is not given"
            continue
        datatype, shape, _ = messages.encode_tensor(name, inputs[name])
        fits = len(shape) == len(wanted) and all(d in ("N", -1, size) for d, size in zip(wanted, shape, strict=True))
        if fits and datatype == tensor.dtype:
            continue
        text = f"{name!r} is {datatype} {list(shape)}, it takes {shown}"
        if batched and len(shape) == len(tensor.dims):
            text += f", where N is the batch: for a batch of one give [1, {', '.join(map(str, shape))}]"
        elif datatype != tensor.dtype and tensor.dtype != "BYTES":
            text += f": convert it with .astype(np.{messages.DTYPES[tensor.dtype][0].name})"
        yield text
