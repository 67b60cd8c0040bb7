"""Does the exported model answer as torch does? A gate: what fails it is not published.

    torch ──► reference ──┬── onnx       the file in ONNX Runtime, our operators as function bodies
                          ├── kernels    the same file with our native kernels
                          └── server     the model that a server has loaded, over gRPC

First names, then types and axes, then shapes, then values; nothing stops at the first difference, and the report lists
them all. Every output has its own tolerance with its reason. A NaN never passes, not even against a NaN; an infinity
passes only against the same infinity.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from neurips16.export.errors import ExportError, SessionError
from neurips16.export.graph.exporter import STANDARD_DOMAINS, call_by_name, graphs
from neurips16.export.graph.signature import check_signature
from neurips16.export.graph.weights import round_weights
from neurips16.export.parity.difference import compare
from neurips16.export.parity.report import Failure, OutputReport, ParityReport
from neurips16.export.session import CPU, ORT_ERRORS, make_session
from neurips16.export.spec import STORED_WEIGHTS, ModelSpec, SpecError, StateSpec, TensorSpec, read_spec

Case = Mapping[str, np.ndarray]
Answers = dict[str, np.ndarray]
Station = Callable[[Case], Answers]
_RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, ValueError)  # ValueError: an input is missing

FILE, TORCH, ONNX, KERNELS, SERVER = "file", "torch", "onnx", "kernels", "server"


class _StationError(Exception):
    """A station gave no answer; the text says why."""


def check_parity(
    spec: ModelSpec,
    module: nn.Module,
    model_path: str | Path,
    cases: Sequence[Case],
    *,
    op_library: str | Path | None = None,
    server: tuple[str, str] | None = None,
    providers: Sequence[str] = (CPU,),
) -> ParityReport:
    """Compare every station with torch, on every case.

    Args:
        spec: what the model should be.
        module: the torch module that was exported; where the file says that its weights were rounded to FP16, a copy
            that is rounded alike is the reference.
        model_path: the exported file.
        cases: real inputs by name, as NumPy arrays. Every free axis must occur at two lengths at least, or a graph with
            a constant baked in would pass. A stateful model's case may leave its states out: they have their initial
            values then, and only such cases are put to a server, which keeps the states itself.
        op_library: `libneurips16_ops.so`, to check the native kernels too; of no use to a file without operators of
            ours (an inlined one), which then has no such station.
        server: (URL, model name), to check a served model too.
        providers: where ONNX Runtime runs.

    Returns:
        The report; `ParityReport.raise_if_failed` is the gate.
    """
    model_path = Path(model_path)
    model = onnx.load(model_path)
    report = ParityReport.of(spec, model_path)
    report.failures += [Failure(FILE, text) for text in _file_problems(model, spec)]
    report.failures += [Failure("cases", text) for text in _case_problems(spec, cases)]
    report.cases = [{name: list(value.shape) for name, value in case.items()} for case in cases]

    starting = [not any(state.input in case for state in spec.states) for case in cases]
    if server is not None and not any(starting):
        report.failures.append(Failure("cases", "a server keeps the states itself: give a case without them"))
    cases = [_with_states(spec, case) for case in cases]
    module = _as_exported(module, model)
    references = [_reference(spec, module, case, i, report) for i, case in enumerate(cases)]
    with contextlib.ExitStack() as stack:
        own = any(node.domain not in STANDARD_DOMAINS for graph in graphs(model.graph) for node in graph.node)
        for name, opened in _stations(spec, model_path, op_library if own else None, server, providers):
            try:
                station = stack.enter_context(opened)
            except (SessionError, _StationError) as error:
                report.failures.append(Failure(name, str(error)))
                continue
            asked = starting if name == SERVER else [True] * len(cases)
            pairs = [(i, case, references[i]) for i, case in enumerate(cases) if asked[i]]
            report.stations[name] = _run_station(spec, name, station, pairs, report)
    return report


def _file_problems(model: onnx.ModelProto, spec: ModelSpec) -> list[str]:
    problems = check_signature(model, spec)
    try:
        written = read_spec(model)
    except SpecError as error:
        return [*problems, str(error)]
    # The exporter notes in the file how it was written, and an inlined model has no operators of our own any more.
    same: dict[str, Any] = {"provenance": {}, "custom_ops": ()}
    if dataclasses.replace(written, **same) != dataclasses.replace(spec, **same):
        problems.append("the specification inside the file is not the one that it is checked against: export anew")
    return problems


def _case_problems(spec: ModelSpec, cases: Sequence[Case]) -> Iterator[str]:
    states = {state.input for state in spec.states}
    lengths: dict[str, set[int]] = {}
    for i, case in enumerate(cases):
        for tensor in spec.graph_inputs:
            value = case.get(tensor.name)
            if value is None:
                if tensor.name not in states and not tensor.optional:
                    yield f"case {i} has no {tensor.name!r}"
                continue
            yield from (f"case {i}, {problem}" for problem in _tensor_problems(tensor, value))
            for dim, length in zip(tensor.dims, value.shape, strict=False):
                if isinstance(dim, str):
                    lengths.setdefault(dim, set()).add(length)
        unknown = set(case) - {tensor.name for tensor in spec.graph_inputs}
        if unknown:
            yield f"case {i} has inputs that the model does not take: {', '.join(sorted(unknown))}"
    for dim in sorted({d for t in spec.graph_inputs for d in t.dims if isinstance(d, str)}):
        if len(lengths.get(dim, ())) < 2:
            tried = ", ".join(map(str, lengths.get(dim, ()))) or "none"
            yield f"axis {dim} is tried at too few lengths ({tried}): give cases with two at least"


def _tensor_problems(tensor: TensorSpec, value: np.ndarray) -> Iterator[str]:
    """In what ``value`` differs from its specification."""
    if value.dtype != tensor.numpy_dtype:
        yield f"{tensor.name!r} is {value.dtype}, the specification says {tensor.dtype}"
    fits = len(value.shape) == len(tensor.dims) and all(
        isinstance(dim, str) or dim == length for dim, length in zip(tensor.dims, value.shape, strict=True)
    )
    if not fits:
        yield f"{tensor.name!r} has shape {value.shape}, the specification says {tensor.dims}"
    if tensor.range is not None and value.size and value.dtype.kind in "iuf":
        low, high = tensor.range
        if not (value.min() >= low and value.max() <= high):
            yield f"{tensor.name!r} lies in {value.min()} … {value.max()}, the specification says {low} … {high}"


def _with_states(spec: ModelSpec, case: Case) -> Case:
    absent = [(state, t) for state, t in _state_inputs(spec) if t.name not in case]
    if not absent:
        return case
    batch = next((value.shape[0] for value in case.values()), 1)
    return {
        **case,
        **{
            t.name: np.full([batch if isinstance(d, str) else d for d in t.dims], state.initial, t.numpy_dtype)
            for state, t in absent
        },
    }


def _state_inputs(spec: ModelSpec) -> Iterator[tuple[StateSpec, TensorSpec]]:
    return zip(spec.states, spec.graph_inputs[len(spec.inputs) :], strict=True)


def _as_exported(module: nn.Module, model: onnx.ModelProto) -> nn.Module:
    try:
        stored = read_spec(model).provenance.get(STORED_WEIGHTS)
    except SpecError:  # reported already
        stored = None
    return round_weights(module) if stored == "FP16" else module


def _reference(spec: ModelSpec, module: nn.Module, case: Case, index: int, report: ParityReport) -> Answers:
    """Torch's answers, themselves held against the specification."""
    try:
        with torch.no_grad():
            tensors = {name: torch.from_numpy(np.array(value)) for name, value in case.items()}
            named = call_by_name(module, tensors, [tensor.name for tensor in spec.graph_outputs])
    except ExportError as error:
        report.failures.append(Failure(TORCH, str(error), index))
        return {}
    answers = {name: value.detach().cpu().numpy() for name, value in named.items()}
    for tensor in spec.graph_outputs:
        report.failures += [Failure(TORCH, text, index) for text in _tensor_problems(tensor, answers[tensor.name])]
    return answers


def _stations(
    spec: ModelSpec,
    model_path: Path,
    op_library: str | Path | None,
    server: tuple[str, str] | None,
    providers: Sequence[str],
) -> Iterator[tuple[str, contextlib.AbstractContextManager[Station]]]:
    yield ONNX, _onnx_station(model_path, None, providers)
    if op_library is not None:
        yield KERNELS, _onnx_station(model_path, op_library, providers)
    if server is not None:
        yield SERVER, _server_station(spec, *server)


@contextlib.contextmanager
def _onnx_station(path: Path, op_library: str | Path | None, providers: Sequence[str]) -> Iterator[Station]:
    session = make_session(path, op_library=op_library, providers=providers)
    taken = {value.name for value in session.get_inputs()}
    given = [value.name for value in session.get_outputs()]

    def run(case: Case) -> Answers:
        try:
            values = session.run(None, {name: value for name, value in case.items() if name in taken})
        except _RUN_ERRORS as error:
            raise _StationError(f"ONNX Runtime did not run it: {error}") from error
        return dict(zip(given, values, strict=True))

    yield run


@contextlib.contextmanager
def _server_station(spec: ModelSpec, url: str, model: str) -> Iterator[Station]:
    from neurips16.clients.client import Client
    from neurips16.clients.protocol.errors import ClientError
    from neurips16.clients.protocol.messages import SequenceStep, new_sequence_id

    public = {tensor.name for tensor in spec.inputs}
    batched = spec.max_batch_size > 0

    with Client(url) as client:

        def run(case: Case) -> Answers:
            inputs = {name: value for name, value in case.items() if name in public}
            try:
                if not spec.states:
                    return client.infer(model, inputs)
                # A server takes one sequence a request: each row starts one, and ends it.
                rows = [
                    client.infer(
                        model,
                        {name: value[row : row + 1] for name, value in inputs.items()} if batched else inputs,
                        sequence=SequenceStep(new_sequence_id(), start=True, end=True),
                    )
                    for row in range(len(next(iter(inputs.values()))) if batched else 1)
                ]
            except ClientError as error:
                raise _StationError(f"the server did not answer: {error}") from error
            return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

        yield run


def _run_station(
    spec: ModelSpec,
    name: str,
    station: Station,
    cases: Sequence[tuple[int, Case, Answers]],
    report: ParityReport,
) -> dict[str, OutputReport]:
    """Put every case to one station; the failures go into ``report``, each output's worst case is returned."""
    outputs = spec.outputs if name == SERVER else spec.graph_outputs
    wanted = {tensor.name for tensor in outputs}
    worst: dict[str, OutputReport] = {}
    for index, case, reference in cases:
        try:
            answers = station(case)
        except _StationError as error:
            report.failures.append(Failure(name, str(error), index))
            continue
        if set(answers) != wanted:
            text = f"the outputs are {', '.join(sorted(answers))}; the specification says {', '.join(sorted(wanted))}"
            report.failures.append(Failure(name, text, index))
        for tensor in outputs:
            if tensor.name in answers and tensor.name in reference:
                found, problems = compare(tensor, answers[tensor.name], reference[tensor.name])
                report.failures += [Failure(name, f"output {tensor.name!r}: {text}", index) for text in problems]
                worst[tensor.name] = found.worst(worst.get(tensor.name))
    return worst
