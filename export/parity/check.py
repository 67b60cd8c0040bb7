"""Does the exported model answer as torch does? A gate: what fails it is not published.

    torch ──► reference ──┬── onnx       the file in ONNX Runtime, our operators as function bodies
                          ├── kernels    the same file with our native kernels
                          └── server     the model that a server has loaded, over gRPC

First names, then types and axes, then shapes, then values; nothing stops at the first difference, and the report lists
them all. Every output has its own tolerance with its reason. A NaN never passes, not even against a NaN; an infinity
passes only against the same infinity.

A model that keeps state is asked in sequences of several steps, which advance in turn. Each carries its own state from
one step to the next, as it will when it is served: what is lost or mixed up on the way shows in a later step's outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import nn

from neurips16.export.errors import SessionError, StationError
from neurips16.export.graph.exporter import STANDARD_DOMAINS, graphs
from neurips16.export.graph.signature import check_signature
from neurips16.export.graph.weights import round_weights
from neurips16.export.parity.difference import compare
from neurips16.export.parity.report import Failure, OutputReport, ParityReport
from neurips16.export.session import CPU
from neurips16.export.spec import STORED_WEIGHTS, ModelSpec, SpecError, TensorSpec, read_spec
from neurips16.export.station import Answers, Arrays, FileStation, ServerStation, Station, TorchStation, run_case

Case = Arrays | Sequence[Arrays]  # one run, or the steps of a sequence
FILE, CASES, TORCH, ONNX, KERNELS, SERVER = "file", "cases", "torch", "onnx", "kernels", "server"


def check_parity(
    spec: ModelSpec,
    module: nn.Module,
    model_path: str | Path,
    cases: Sequence[Case],
    *,
    op_library: str | Path | None = None,
    server: tuple[str, str] | tuple[str, str, str] | None = None,
    providers: Sequence[str] = (CPU,),
) -> ParityReport:
    """Compare the file, and the served model where there is one, with torch on every case.

    Args:
        spec: what the model should be.
        module: the torch module that was exported; where the file says that its weights were rounded to FP16, a copy
            that is rounded alike is the reference.
        model_path: the exported file.
        cases: real inputs by name, as NumPy arrays. Every free axis must occur at two lengths at least, or a graph with
            a constant baked in would pass. For a model that keeps state, a case may be a list of steps, and one must
            have two at least. A step may give states, in place of those that are carried (at the start: the initial
            ones); such a case is not put to a server, which keeps the states itself.
        op_library: `libneurips16_ops.so`, to check the native kernels too; of no use to a file without operators of
            ours (an inlined one), in which no kernels are then checked.
        server: (URL, model name), to check a served model too; (URL, model name, version) for one version of it.
        providers: where ONNX Runtime runs.

    Returns:
        The report; `ParityReport.raise_if_failed` is the gate.
    """
    model_path = Path(model_path)
    model = onnx.load(model_path)
    report = ParityReport.of(spec, model_path)
    report.failures += [Failure(FILE, text) for text in _file_problems(model, spec)]
    sequences = [[case] if isinstance(case, Mapping) else list(case) for case in cases]
    report.failures += [Failure(CASES, text) for text in _case_problems(spec, sequences)]
    report.cases = [_shapes(steps) for steps in sequences]

    states = {state.input for state in spec.states}
    public = [i for i, steps in enumerate(sequences) if not any(states & set(step) for step in steps)]
    if server is not None and not public:
        report.failures.append(Failure(CASES, "a server keeps the states itself: give a case without them"))
    references = _references(spec, _as_exported(module, model), sequences, report)
    own = any(node.domain not in STANDARD_DOMAINS for graph in graphs(model.graph) for node in graph.node)
    for name, opened in _openers(spec, model_path, op_library if own else None, server, providers):
        asked = public if name == SERVER else range(len(sequences))
        try:
            with opened() as station:
                answers = _ask(spec, station, [sequences[i] for i in asked])
        except (SessionError, StationError) as error:
            report.failures.append(Failure(name, str(error)))
            continue
        outputs = spec.outputs if name == SERVER else spec.graph_outputs
        worst: dict[str, OutputReport] = {}
        for i, found in zip(asked, answers, strict=True):
            report.failures += [Failure(name, text, i) for text in _differences(outputs, found, references[i], worst)]
        report.runs[name] = worst
    return report


def _ask(
    spec: ModelSpec, station: Station, sequences: Sequence[Sequence[Arrays]]
) -> list[list[Answers] | StationError]:
    if spec.states:
        return station.sequences(sequences)
    found: list[list[Answers] | StationError] = []
    for steps in sequences:
        try:
            found.append(run_case(spec, station, steps))
        except StationError as error:
            found.append(error)
    return found


def _openers(
    spec: ModelSpec,
    model_path: Path,
    op_library: str | Path | None,
    server: tuple[str, ...] | None,
    providers: Sequence[str],
) -> Iterator[tuple[str, Callable[[], Station]]]:
    yield ONNX, partial(FileStation, model_path, spec, providers=providers)
    if op_library is not None:
        yield KERNELS, partial(FileStation, model_path, spec, op_library=op_library, providers=providers)
    if server is not None:
        yield SERVER, partial(ServerStation, *server)


def _references(
    spec: ModelSpec, module: nn.Module, sequences: Sequence[Sequence[Arrays]], report: ParityReport
) -> list[list[Answers]]:
    """Torch's answers, themselves held against the specification; fewer than there are steps where torch failed."""
    references: list[list[Answers]] = []
    with TorchStation(spec, module) as station:
        for i, found in enumerate(_ask(spec, station, sequences)):
            if isinstance(found, StationError):
                report.failures.append(Failure(TORCH, str(found), i))
                found = []
            for step, answers in enumerate(found):
                for tensor in spec.graph_outputs:
                    texts = _tensor_problems(tensor, answers[tensor.name])
                    report.failures += [Failure(TORCH, _at(step, found) + text, i) for text in texts]
            references.append(found)
    return references


def _differences(
    outputs: Sequence[TensorSpec],
    found: list[Answers] | StationError,
    reference: Sequence[Answers],
    worst: dict[str, OutputReport],
) -> Iterator[str]:
    """In what the answers to one case differ from torch's; each output's worst one is kept in ``worst``."""
    if isinstance(found, StationError):
        yield str(found)
        return
    wanted = {tensor.name for tensor in outputs}
    for step, answers in enumerate(found):
        if set(answers) != wanted:
            yield (
                f"{_at(step, found)}the outputs are {', '.join(sorted(answers))}; the specification says "
                f"{', '.join(sorted(wanted))}"
            )
        for tensor in outputs:
            if tensor.name in answers and step < len(reference):
                difference, problems = compare(tensor, answers[tensor.name], reference[step][tensor.name])
                yield from (f"{_at(step, found)}output {tensor.name!r}: {text}" for text in problems)
                worst[tensor.name] = difference.worst(worst.get(tensor.name))


def _at(step: int, steps: Sequence[Any]) -> str:
    return f"step {step}: " if len(steps) > 1 else ""


def _shapes(steps: Sequence[Arrays]) -> Any:
    shapes = [{name: list(value.shape) for name, value in step.items()} for step in steps]
    return shapes[0] if len(shapes) == 1 else shapes


def _file_problems(model: onnx.ModelProto, spec: ModelSpec) -> list[str]:
    problems = check_signature(model, spec)
    try:
        written = read_spec(model)
    except SpecError as error:
        return [*problems, str(error)]
    # The exporter notes in the file how it was written, and an inlined model has no operators of our own any more.
    same: dict[str, Any] = {"provenance": {}, "custom_ops": ()}
    if dataclasses.replace(written, **same) != dataclasses.replace(spec, **same):
        problems.append("the specification inside the file is not the one that it is checked against: export it again")
    return problems


def _case_problems(spec: ModelSpec, sequences: Sequence[Sequence[Arrays]]) -> Iterator[str]:
    lengths: dict[str, set[int]] = {}
    for i, steps in enumerate(sequences):
        if len(steps) != 1 and not spec.states:
            yield f"case {i} has {len(steps)} steps, and the model keeps no state from one to the next"
        for place, step in enumerate(steps):
            yield from (f"case {i}{text}" for text in _step_problems(spec, step, _at(place, steps), lengths))
    for dim in sorted({d for t in spec.graph_inputs for d in t.dims if isinstance(d, str)}):
        if len(lengths.get(dim, ())) < 2:
            tried = ", ".join(map(str, lengths.get(dim, ()))) or "none"
            yield f"axis {dim} is tried at too few lengths ({tried}): give cases with two at least"
    if spec.states and not any(len(steps) > 1 for steps in sequences):
        yield "no case has two steps: what becomes of the state from one to the next is not tried"


def _step_problems(spec: ModelSpec, step: Arrays, at: str, lengths: dict[str, set[int]]) -> Iterator[str]:
    """In what one step's inputs differ from their specification; the lengths of free axes go into ``lengths``."""
    states = {state.input for state in spec.states}
    for tensor in spec.graph_inputs:
        value = step.get(tensor.name)
        if value is None:
            if tensor.name not in states and not tensor.optional:
                yield f"{at and ', ' + at.rstrip(': ')} has no {tensor.name!r}"
            continue
        yield from (f", {at}{problem}" for problem in _tensor_problems(tensor, value))
        for dim, length in zip(tensor.dims, value.shape, strict=False):
            if isinstance(dim, str):
                lengths.setdefault(dim, set()).add(length)
    if unknown := set(step) - {tensor.name for tensor in spec.graph_inputs}:
        yield f" has inputs that the model does not take: {', '.join(sorted(unknown))}"


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


def _as_exported(module: nn.Module, model: onnx.ModelProto) -> nn.Module:
    try:
        stored = read_spec(model).provenance.get(STORED_WEIGHTS)
    except SpecError:  # reported already
        stored = None
    return round_weights(module) if stored == "FP16" else module
