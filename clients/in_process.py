"""Models in this process: a client's operations answered from a model repository's ONNX files, as a server would.

`LocalClient` takes the place of `Client` where a server would only be in the way, as on the machines of a batch job.
It is given the same messages and gives the same answers, so every operation works with it unchanged; what
a server's configuration tells is read from the specification inside the file. The states of models that keep some are
held here, from a sequence's first request to its last, as a server holds them.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2, service_pb2

from neurips16.clients.calls import TaskCalls
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.attempts import deadline_of
from neurips16.clients.protocol.errors import (
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    InvalidRequestError,
    ModelNotFoundError,
    RequestError,
    ResourceExhaustedError,
    ServerError,
    UnsupportedError,
)
from neurips16.clients.protocol.messages import Rpc
from neurips16.clients.protocol.operation import Operation, Reply, Stream

T = TypeVar("T")

METADATA_KEY = "neurips16.spec"  # under which an exported file carries its specification
MODEL_FILE = "model.onnx"
CPU = "CPUExecutionProvider"
MAX_SEQUENCES = 256  # of a model at a time
MAX_SEQUENCE_IDLE_S = 60.0  # a sequence that nobody goes on with is forgotten after so long
_LOG_ERRORS_ONLY = 3


@dataclass(frozen=True)
class State:
    """A pair of tensors that carries a sequence's state from one request to the next."""

    input: str
    output: str
    dtype: str  # a KServe v2 name
    dims: tuple[int, ...]  # the batch axis included, where there is one
    initial: float

    def start(self) -> np.ndarray:
        """The state at the start of a sequence."""
        return np.full(self.dims, self.initial, messages.DTYPES[self.dtype][0])


class Sequences:
    """The states of a model's sequences that are under way.

    Args:
        states: of the model.
        clock: seconds, from any beginning.
    """

    def __init__(self, states: Sequence[State], clock: Callable[[], float] = time.monotonic) -> None:
        self.states = tuple(states)
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[int | str, tuple[float, dict[str, np.ndarray]]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def before(self, sequence: int | str, *, start: bool) -> dict[str, np.ndarray]:
        """The states from which a request goes on.

        Raises:
            LookupError: the request does not start a sequence, and goes on with none that is known.
            OverflowError: there are as many as may be.
        """
        with self._lock:
            oldest = self._clock() - MAX_SEQUENCE_IDLE_S
            self._kept = {key: kept for key, kept in self._kept.items() if kept[0] >= oldest}
            if start:
                if sequence not in self._kept and len(self._kept) >= MAX_SEQUENCES:
                    raise OverflowError(f"{MAX_SEQUENCES} sequences are under way already: end one first")
                found = {state.input: state.start() for state in self.states}
                self._kept[sequence] = self._clock(), found
            elif sequence not in self._kept:
                raise LookupError(
                    f"sequence {sequence} is not known (it ended, or was idle for longer than "
                    f"{MAX_SEQUENCE_IDLE_S:g} s): send it again from its start"
                )
            return self._kept[sequence][1]

    def after(self, sequence: int | str, outputs: Mapping[str, np.ndarray], *, end: bool) -> None:
        """Keep the states that a request ended with, or forget the sequence at its end."""
        with self._lock:
            if end:
                self._kept.pop(sequence, None)
            else:
                self._kept[sequence] = self._clock(), {state.input: outputs[state.output] for state in self.states}


@dataclass(frozen=True)
class LocalModel:
    """One version of a model, loaded."""

    version: str
    config: model_config_pb2.ModelConfig
    sha256: str  # of the file
    session: Any  # onnxruntime.InferenceSession
    sequences: Sequences | None  # of a model that keeps state


class LocalClient(TaskCalls):
    """Runs the models of a repository (MODEL/VERSION/model.onnx, the newest version of each) on this machine's CPU.

    Args:
        repository: its folder.
        threads: inside one operator of a model.
        op_library: `libneurips16_ops.so`; without it our own operators run as the function bodies in the file.

    Raises:
        InvalidInputError: there is no such folder.

    May be used by several threads at a time. A model is loaded when it is first asked for.
    """

    def __init__(
        self, repository: str | Path, *, threads: int = 1, op_library: str | os.PathLike[str] | None = None
    ) -> None:
        self.repository = Path(repository)
        if not self.repository.is_dir():
            raise InvalidInputError(f"{repository} is no folder: give a model repository such as serving/models")
        self._threads = threads
        self._op_library = op_library
        self._lock = threading.Lock()
        self._models: dict[str, LocalModel] = {}

    def run(self, operation: Operation[T], *, timeout_s: float | None = None) -> T:
        """Perform an operation; see `Client.run`. The time counts between calls: a model cannot be interrupted."""
        stream = self.stream(operation, timeout_s=timeout_s)
        for _ in stream:
            pass
        return stream.result

    def stream(self, operation: Operation[T], *, timeout_s: float | None = None) -> Stream[T]:
        """Perform an operation while its partial results are taken; see `Client.stream`."""
        return Stream(operation, partial(self._perform, deadline=deadline_of(timeout_s)))

    def _perform(self, calls: Iterable[Rpc], *, deadline: float) -> Generator[Reply, None, None]:
        for place, rpc in enumerate(calls):
            if time.monotonic() > deadline:
                raise DeadlineExceededError(
                    f"{rpc.method} of model {rpc.model!r} was not reached in time: give the operation more (timeout_s)",
                    code=grpc.StatusCode.DEADLINE_EXCEEDED,
                    model=rpc.model,
                )
            try:
                reply = Reply(place, rpc.decode(self.answer(rpc.method, rpc.request)))
            except ClientError as error:
                reply = Reply(place, error=error)
            yield reply

    def answer(self, method: str, request: Any) -> Message:
        """The reply to a request of the service GRPCInferenceService.

        Args:
            method: ``ModelInfer``, ``ModelConfig``, ``ModelMetadata``, ``RepositoryIndex``, ``ServerReady``,
                ``RepositoryModelLoad`` or ``RepositoryModelUnload``; all else is a server's.
            request: its request message.

        Raises:
            RequestError: as a server would refuse it.
        """
        if method == "ModelInfer":
            return _infer(self.model(request.model_name), request)
        if method == "ModelConfig":
            return service_pb2.ModelConfigResponse(config=self.model(request.name).config)
        if method == "ModelMetadata":
            return service_pb2.ModelMetadataResponse(name=request.name, versions=[self.model(request.name).version])
        if method == "ServerReady":
            return service_pb2.ServerReadyResponse(ready=True)
        if method == "RepositoryIndex":
            return self._index()
        if method == "RepositoryModelLoad":
            self.model(request.model_name)
            return service_pb2.RepositoryModelLoadResponse()
        if method == "RepositoryModelUnload":
            with self._lock:
                self._models.pop(request.model_name, None)
            return service_pb2.RepositoryModelUnloadResponse()
        raise UnsupportedError(
            f"{method} is a server's: models in this process only infer", code=grpc.StatusCode.UNIMPLEMENTED
        )

    def model(self, name: str) -> LocalModel:
        """A model, loaded.

        Raises:
            ModelNotFoundError: the repository has none of this name.
            InvalidInputError: its file cannot be loaded, or carries no specification.
        """
        with self._lock:
            if name not in self._models:
                self._models[name] = self._load(name)
            return self._models[name]

    def close(self) -> None:
        """Let go of the models."""
        self._models.clear()

    def _index(self) -> Message:
        """Every model of the repository; all count as ready, since each is loaded when it is first asked for."""
        reply = service_pb2.RepositoryIndexResponse()
        for name in self._known():
            reply.models.add(name=name, version=max(self._versions(name), key=int), state="READY")
        return reply

    def _known(self) -> list[str]:
        return sorted({path.parents[1].name for path in self.repository.glob(f"*/*/{MODEL_FILE}")})

    def _versions(self, name: str) -> list[str]:
        return [
            folder.name
            for folder in (self.repository / name).glob("*/")
            if folder.name.isdecimal() and (folder / MODEL_FILE).is_file()
        ]

    def _load(self, name: str) -> LocalModel:
        versions = self._versions(name)
        if not versions:
            known = self._known()
            raise ModelNotFoundError(
                f"{self.repository} has no model {name!r}: it has {', '.join(known) or 'none'}",
                code=grpc.StatusCode.NOT_FOUND,
                model=name,
            )
        version = max(versions, key=int)
        path = self.repository / name / version / MODEL_FILE
        session = make_session(path, threads=self._threads, op_library=self._op_library)
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise InvalidInputError(f"{path} carries no specification: it was not written by `neurips16 export`")
        spec = json.loads(text)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return LocalModel(version, _config(spec), digest, session, _sequences(spec))


def make_session(path: Path, *, threads: int, op_library: str | os.PathLike[str] | None = None) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, with so many threads inside an operator and operators in turn.

    Raises:
        InvalidInputError: the file or the library cannot be loaded, or ONNX Runtime is not there.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InvalidInputError("models in this process need ONNX Runtime: pip install 'neurips16[batch]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _LOG_ERRORS_ONLY
    try:
        if op_library is not None:
            options.register_custom_ops_library(str(Path(op_library).resolve()))
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=[CPU])
    except _runtime_errors() as error:
        raise InvalidInputError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime throws; its classes have no common base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    return (
        ort.EPFail,
        ort.Fail,
        ort.InvalidArgument,
        ort.InvalidGraph,
        ort.InvalidProtobuf,
        ort.NoSuchFile,
        ort.NotImplemented,
        ort.RuntimeException,
    )


def _config(spec: dict[str, Any]) -> model_config_pb2.ModelConfig:
    """The specification as a server's configuration tells it."""
    config = model_config_pb2.ModelConfig(
        name=spec["name"], backend="onnxruntime", max_batch_size=spec["max_batch_size"]
    )
    for tensors, said in ((spec["inputs"], config.input), (spec["outputs"], config.output)):
        for tensor in tensors:
            datatype = "TYPE_STRING" if tensor["dtype"] == "BYTES" else f"TYPE_{tensor['dtype']}"
            dims = tensor["dims"][config.max_batch_size > 0 :]
            said.add(name=tensor["name"], data_type=datatype, dims=[d if isinstance(d, int) else -1 for d in dims])
    for key, value in {**_labels(spec), **spec["parameters"]}.items():
        config.parameters[key].string_value = value
    return config


def _labels(spec: dict[str, Any]) -> dict[str, str]:
    lists = {tuple(labels) for labels in spec["labels"].values()}
    return {"labels": json.dumps(lists.pop(), ensure_ascii=False)} if len(lists) == 1 else {}


def _sequences(spec: dict[str, Any]) -> Sequences | None:
    row = [1] if spec["max_batch_size"] else []  # a request of a sequence is one row
    states = [
        State(state["input"], state["output"], state["dtype"], (*row, *state["dims"]), state["initial"])
        for state in spec["states"]
    ]
    return Sequences(states) if states else None


def _infer(model: LocalModel, request: Any) -> Message:
    feed: dict[str, np.ndarray] = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        dtype, _ = messages.DTYPES[tensor.datatype]
        if dtype.kind == "O":
            raise _refused(model, f"input {tensor.name!r} holds texts, which models in this process do not take")
        feed[tensor.name] = np.frombuffer(raw, dtype).reshape(tuple(tensor.shape))
    known = {tensor.name for tensor in model.config.output}
    names = [output.name for output in request.outputs] or sorted(known)
    if unknown := set(names) - known:
        raise _refused(model, f"it has no output {', '.join(sorted(unknown))}")
    if model.sequences is None:
        arrays = _run(model, names, feed)
    else:
        arrays = _step(model, model.sequences, names, feed, request.parameters)
    reply = service_pb2.ModelInferResponse(model_name=model.config.name, model_version=model.version)
    for name, array in zip(names, arrays, strict=True):
        datatype, shape, raw = messages.encode_tensor(name, array)
        reply.outputs.add(name=name, datatype=datatype, shape=shape)
        reply.raw_output_contents.append(raw)
    return reply


def _step(
    model: LocalModel, sequences: Sequences, names: list[str], feed: dict[str, np.ndarray], parameters: Any
) -> list[np.ndarray]:
    """One request of a sequence."""
    sequence = parameters["sequence_id"].string_param or parameters["sequence_id"].int64_param
    if not sequence:
        raise _refused(model, "it keeps state, so a request says which sequence it belongs to, by a number over 0")
    if model.config.max_batch_size and any(array.shape[:1] != (1,) for array in feed.values()):
        raise _refused(model, "it keeps state, so a request of it has one row")
    try:
        before = sequences.before(sequence, start=parameters["sequence_start"].bool_param)
    except LookupError as error:
        raise _refused(model, str(error)) from error
    except OverflowError as error:
        raise ResourceExhaustedError(
            f"model {model.config.name!r}: {error}", code=grpc.StatusCode.RESOURCE_EXHAUSTED, model=model.config.name
        ) from error
    outputs = [state.output for state in sequences.states]
    arrays = _run(model, [*names, *outputs], {**feed, **before})
    kept = dict(zip(outputs, arrays[len(names) :], strict=True))
    sequences.after(sequence, kept, end=parameters["sequence_end"].bool_param)
    return arrays[: len(names)]


def _run(model: LocalModel, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

    try:
        return model.session.run(names, feed)
    except (InvalidArgument, ValueError) as error:  # ValueError: an input of the graph is not given
        raise _refused(model, str(error)) from error
    except _runtime_errors() as error:
        if empty := [f"{name!r} {list(array.shape)}" for name, array in sorted(feed.items()) if array.size == 0]:
            raise _refused(model, f"it cannot take inputs of no elements, as {', '.join(empty)}: {error}") from error
        raise ServerError(
            f"model {model.config.name!r} failed: {error}", code=grpc.StatusCode.INTERNAL, model=model.config.name
        ) from error


def _refused(model: LocalModel, why: str) -> RequestError:
    name = model.config.name
    return InvalidRequestError(
        f"model {name!r} refused its input: {why}", code=grpc.StatusCode.INVALID_ARGUMENT, model=name
    )
