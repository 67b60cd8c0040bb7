"""Puts requests together into one run of the session, and takes its outputs apart again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Run = Callable[[Collection[str], Arrays], Arrays]  # names of outputs, inputs -> outputs


@dataclass
class Job:
    """One request on its way through: what it feeds, what it wants, and what came of it."""

    feed: Arrays
    wanted: frozenset[str]
    results: Arrays = field(default_factory=dict)
    error: Exception | None = None

    @property
    def batch(self) -> int:
        """Its length along the batch axis."""
        return len(next(iter(self.feed.values())))

    def signature(self) -> tuple:
        """What jobs must have in common to be run together: names, types, and all axes but the batch's."""
        return tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in self.feed.items()))


def run_jobs(jobs: Sequence[Job], run: Run, *, batched: bool, error_type: type[Exception]) -> None:
    """Run every job, together where that can be; each ends with results or with an error of its own.

    When a run of several fails, each of them is run alone: the one at fault gets the error, its neighbours answers.

    Args:
        jobs: the jobs; their ``results`` and ``error`` are filled in.
        run: the session.
        batched: whether the first axis of everything is the batch's.
        error_type: what ``run`` raises.
    """
    groups: dict[Any, list[Job]] = {}
    for position, job in enumerate(jobs):
        groups.setdefault(job.signature() if batched and job.feed else position, []).append(job)
    for group in groups.values():
        try:
            _run_group(group, run)
        except error_type as error:
            if len(group) == 1:
                group[0].error = error
                continue
            for job in group:
                run_jobs([job], run, batched=batched, error_type=error_type)


def _run_group(group: Sequence[Job], run: Run) -> None:
    wanted = frozenset().union(*(job.wanted for job in group))
    if len(group) == 1:  # nothing is copied
        group[0].results = run(wanted, group[0].feed)
        return
    feed = {name: np.concatenate([job.feed[name] for job in group]) for name in group[0].feed}
    total = sum(job.batch for job in group)
    outputs = run(wanted, feed)
    unsplittable = [name for name, array in outputs.items() if array.shape[:1] != (total,)]
    if unsplittable:
        # This model does not keep requests apart along the first axis: alone, each gets what is its own.
        for job in group:
            job.results = run(job.wanted, job.feed)
        return
    start = 0
    for job in group:
        job.results = {name: outputs[name][start : start + job.batch] for name in job.wanted}
        start += job.batch


def decode_strings(array: np.ndarray) -> np.ndarray:
    """Bytes as they come over the wire, as the str objects that ONNX Runtime takes.

    Raises:
        UnicodeDecodeError: an element is not UTF-8.
    """
    flat = [element.decode() if isinstance(element, bytes) else str(element) for element in array.ravel()]
    return _objects(flat, array.shape)


def encode_strings(array: np.ndarray) -> np.ndarray:
    """The reverse of `decode_strings`."""
    return _objects([str(element).encode() for element in array.ravel()], array.shape)


def _objects(elements: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array.reshape(shape)


def only(arrays: Mapping[str, np.ndarray], names: Collection[str]) -> Arrays:
    """Those of ``arrays`` that ``names`` asks for."""
    return {name: array for name, array in arrays.items() if name in names}
