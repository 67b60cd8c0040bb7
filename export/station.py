"""One model that answers, wherever it runs: as torch module, as ONNX file, or on a server over gRPC.

All three take the same arrays and give the same ones. Rows may be asked in batches (`Station.rows`), and models that
keep state in sequences of steps (`Station.sequences`): a file's and a module's state is carried here, a server carries
its own. Several sequences advance in turn, so that a server that mixes them up is found out.
"""

from __future__ import annotations

import itertools
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from neurips16.clients import Client
from neurips16.clients.protocol.errors import ClientError
from neurips16.clients.protocol.messages import SequenceStep
from neurips16.export.errors import EvaluationError, ExportError, StationError
from neurips16.export.graph.exporter import call_by_name
from neurips16.export.registry import ExportedModel, Target
from neurips16.export.session import CPU, ORT_ERRORS, make_session
from neurips16.export.spec import ModelSpec, SpecError, StateSpec, TensorSpec, read_spec

Arrays = Mapping[str, np.ndarray]
Answers = dict[str, np.ndarray]
ROWS_PER_RUN = 250  # where nothing says how many rows a run may have
_RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, ValueError)  # ValueError: an input is missing
S = TypeVar("S", bound="Station")


class Station(ABC):
    """A model that answers. It is closed at the end of a ``with``.

    Attributes:
        parameters: the plain facts that the model's specification states for clients.
        labels: the names of its classes; empty where it has none, or several lists of them.
        rows_per_run: the most rows that `rows` asks for at once.
    """

    parameters: Mapping[str, str]
    labels: tuple[str, ...]
    rows_per_run: int = ROWS_PER_RUN

    @abstractmethod
    def ask(self, inputs: Arrays) -> Answers:
        """The outputs by name of one run.

        Raises:
            StationError: there is no answer; the text says why.
        """

    @abstractmethod
    def step(self, sequence: int, inputs: Arrays, *, first: bool, last: bool) -> Answers:
        """One step of a sequence of a model that keeps state; sequences are told apart by their numbers.

        Raises:
            StationError: there is no answer; the text says why.
        """

    def rows(self, **inputs: np.ndarray) -> Answers:
        """The outputs for any number of rows, asked `rows_per_run` at a time."""
        count, size = len(next(iter(inputs.values()))), self.rows_per_run
        parts = [self.ask({k: v[start : start + size] for k, v in inputs.items()}) for start in range(0, count, size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def sequences(self, sequences: Sequence[Sequence[Arrays]]) -> list[list[Answers] | StationError]:
        """The answers to each step of each sequence, or the error that ended it; all of them advance in turn."""
        found: list[list[Answers] | StationError] = [[] for _ in sequences]
        for place in range(max(map(len, sequences), default=0)):
            for i, (steps, answers) in enumerate(zip(sequences, found, strict=True)):
                if place >= len(steps) or isinstance(answers, StationError):
                    continue
                try:
                    answers.append(self.step(i, steps[place], first=place == 0, last=place == len(steps) - 1))
                except StationError as error:
                    found[i] = error
        return found

    def number_list(self, name: str) -> list[float]:
        """A parameter that is a list of numbers."""
        return [float(word) for word in self.parameters[name].split()]

    @abstractmethod
    def close(self) -> None:
        """Let go of what the station has opened."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _CarriesState(Station):
    """A station whose states are tensors in and out of its graph."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.parameters, self.labels = spec.parameters, spec.class_labels
        self._states: dict[int, Answers] = {}

    def step(self, sequence: int, inputs: Arrays, *, first: bool, last: bool) -> Answers:
        """See `Station.step`; a state that is among the inputs wins over the one that was carried."""
        before = initial_states(self.spec, inputs) if first else self._states[sequence]
        answers = self.ask({**before, **inputs})
        # What lacks is for whoever reads the answers to tell.
        self._states[sequence] = {s.input: answers[s.output] for s in self.spec.states if s.output in answers}
        return answers

    def close(self) -> None:
        """Forget the sequences."""
        self._states.clear()


class TorchStation(_CarriesState):
    """The torch module of an exported model."""

    def __init__(self, spec: ModelSpec, module: nn.Module) -> None:
        super().__init__(spec)
        self._module = module
        self._outputs = [tensor.name for tensor in spec.graph_outputs]

    def ask(self, inputs: Arrays) -> Answers:
        """See `Station.ask`."""
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        try:
            with torch.no_grad():
                named = call_by_name(self._module, tensors, self._outputs)
        except ExportError as error:
            raise StationError(str(error)) from error
        return {name: value.detach().cpu().numpy() for name, value in named.items()}


class FileStation(_CarriesState):
    """An ONNX file in ONNX Runtime.

    Args:
        path: the file.
        spec: what it is; None reads it from the file.
        op_library: `libneurips16_ops.so`; without it our own operators run as their function bodies.
        providers: where ONNX Runtime runs.
        threads: inside one operator; 0 means one for each core.

    Raises:
        SessionError: it cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        spec: ModelSpec | None = None,
        *,
        op_library: str | Path | None = None,
        providers: Sequence[str] = (CPU,),
        threads: int = 1,
    ) -> None:
        super().__init__(spec or read_spec(path))
        self._session = make_session(path, op_library=op_library, providers=providers, intra_op_threads=threads)
        self._taken = {value.name for value in self._session.get_inputs()}
        self._given = [value.name for value in self._session.get_outputs()]

    def ask(self, inputs: Arrays) -> Answers:
        """See `Station.ask`."""
        try:
            values = self._session.run(None, {name: value for name, value in inputs.items() if name in self._taken})
        except _RUN_ERRORS as error:
            raise StationError(f"ONNX Runtime did not run it: {error}") from error
        return dict(zip(self._given, values, strict=True))


class ServerStation(Station):
    """A model of a server, over gRPC.

    Args:
        url: HOST:PORT.
        model: its name there.
        version: of the model; the server's choice, if empty.
    """

    def __init__(self, url: str, model: str, version: str = "") -> None:
        self._client, self._model, self._version = Client(url), model, version
        self._ids: dict[tuple[int, int], int] = {}
        self._next_id = itertools.count(secrets.randbits(62) + 1)  # no other client's sequences on the same server
        try:
            config = self._client.model_config(model)
        except ClientError as error:
            self._client.close()
            raise StationError(f"the server did not answer: {error}") from error
        self.parameters, self._batched = config.parameters, config.max_batch_size > 0
        self._inputs = {tensor.name for tensor in config.inputs}
        self.labels = tuple(json.loads(config.parameters.get("labels", "[]")))
        self.rows_per_run = max(1, config.max_batch_size)

    def ask(self, inputs: Arrays) -> Answers:
        """See `Station.ask`."""
        return self._infer(inputs, None)

    def step(self, sequence: int, inputs: Arrays, *, first: bool, last: bool) -> Answers:
        """See `Station.step`: a server takes one row a request, so each row is a sequence of its own."""
        answers = []
        for row in range(len(next(iter(inputs.values()))) if self._batched else 1):
            if first:
                self._ids[sequence, row] = next(self._next_id)
            one = {name: value[row : row + 1] for name, value in inputs.items()} if self._batched else inputs
            answers.append(self._infer(one, SequenceStep(self._ids[sequence, row], start=first, end=last)))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _infer(self, inputs: Arrays, sequence: SequenceStep | None) -> Answers:
        inputs = {name: value for name, value in inputs.items() if name in self._inputs}
        try:
            return self._client.infer(self._model, inputs, version=self._version, sequence=sequence)
        except ClientError as error:
            raise StationError(f"the server did not answer: {error}") from error

    def close(self) -> None:
        """End the connection."""
        self._client.close()


def open_station(
    target: Target,
    system: str,
    name: str,
    models: Callable[[Path, Path | None], Sequence[ExportedModel]],
    *,
    op_library: Path | None = None,
) -> Station:
    """The model ``name`` of a system where a target has it.

    Args:
        target: a checkpoint, an ONNX file (this model's, or another one's of the system beside it in a repository), or
            a server.
        system: that the file must be of.
        name: of the model.
        models: the system's own, which makes its torch modules from a checkpoint.
        op_library: see `FileStation`.

    Raises:
        EvaluationError: the target is a baseline, or a file that is not there or not of the system.
        StationError: the server does not answer, or has no such model.
    """
    if target.checkpoint is not None:
        exported = next(model for model in models(target.checkpoint, None) if model.spec.name == name)
        return TorchStation(exported.spec, exported.module)
    if target.model is not None:
        path, spec = model_file(target.model, system, name)
        return FileStation(path, spec, op_library=op_library, threads=0)
    if target.url is not None:
        return ServerStation(target.url, name, target.version)
    raise EvaluationError(f"{system} has no baseline {target.baseline!r}: name a checkpoint, a model or a server")


def model_file(path: Path, system: str, name: str) -> tuple[Path, ModelSpec]:
    """The file of a model, from that of any model of its system in REPOSITORY/MODEL/VERSION/model.onnx.

    Raises:
        EvaluationError: a file is not there, cannot be read, or is of another system.
    """
    try:
        spec = read_spec(path)
    except SpecError as error:
        raise EvaluationError(f"this is no model that can be measured: {error}") from error
    if spec.system != system:
        raise EvaluationError(f"{path} is {spec.name!r}, of the system {spec.system!r}; expected a model of {system!r}")
    if spec.name == name:
        return path, spec
    beside = path.absolute().parents[2] / name / path.parent.name / path.name
    if not beside.is_file():
        raise EvaluationError(f"{beside} is not there, and {system} needs it: export the models of a system together")
    if (other := read_spec(beside)).name != name:
        raise EvaluationError(f"{beside} says that it is {other.name!r}: a model lies in the folder of its name")
    return beside, other


def run_case(spec: ModelSpec, station: Station, steps: Sequence[Arrays]) -> list[Answers]:
    """The answers to the steps of a sequence, or to one run of a model that keeps no state.

    Raises:
        StationError: there is no answer to one of them.
    """
    if not spec.states:
        return [station.ask(step) for step in steps]
    (found,) = station.sequences([steps])
    if isinstance(found, StationError):
        raise found
    return found


def state_inputs(spec: ModelSpec) -> Iterator[tuple[StateSpec, TensorSpec]]:
    """Each state with the tensor by which the graph takes it."""
    return zip(spec.states, spec.graph_inputs[len(spec.inputs) :], strict=True)


def initial_states(spec: ModelSpec, inputs: Arrays) -> Answers:
    """The states with which a sequence starts, in as many rows as the inputs have."""
    rows = next((value.shape[0] for value in inputs.values()), 1)
    return {
        tensor.name: np.full([rows if isinstance(dim, str) else dim for dim in tensor.dims], state.initial,
                             tensor.numpy_dtype)
        for state, tensor in state_inputs(spec)
    }  # fmt: skip
