"""Scores one shard after another: what a worker does, in whatever process or on whatever machine the engine puts it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neurips16.clients.client import Client
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.connection import Connection
from neurips16.clients.protocol.errors import (
    ClientClosedError,
    ClientError,
    InvalidInputError,
    InvalidRequestError,
    RequestError,
    ServerError,
)
from neurips16.clients.scoring.bound_models import BoundModel, pinned
from neurips16.clients.scoring.output import ScoreOutput
from neurips16.clients.scoring.permitted_sources import PermittedSources
from neurips16.clients.scoring.sources import KEY, VALUE, read_shard
from neurips16.clients.scoring.task import Result, ScoreTask, Value


@dataclass(frozen=True)
class InProcess:
    """The models run in the worker itself."""

    repository: Path
    threads: int = 1
    op_library: Path | None = None

    def connect(self) -> LocalClient:
        """A client, with nothing loaded yet."""
        return LocalClient(self.repository, threads=self.threads, op_library=self.op_library)


@dataclass(frozen=True)
class ThroughServer:
    """The models run on a server."""

    connection: Connection

    def connect(self) -> Client:
        """A client with one request under way for each thread that uses it."""
        known = self.connection
        return Client(
            str(known.address),
            timeout=known.timeout,
            retry=known.retry,
            tls=known.tls,
            headers=dict(known.metadata),
            max_in_flight=1,
        )


@dataclass(frozen=True)
class ScoreJob:
    """All that a worker has to know."""

    output: Path
    task: ScoreTask
    models: Mapping[str, BoundModel]
    host: InProcess | ThroughServer
    values: Literal["paths", "files", "bytes", "texts"]  # what the values of the shards are
    permitted: PermittedSources  # which files they may name
    keep: tuple[str, ...]
    in_flight: int  # rows, or groups of rows, that a worker has under way


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a shard."""

    shard: int
    rows: int = 0
    failed: int = 0
    stopped: str = ""  # why it was not scored; nothing of it is written then


@dataclass(frozen=True)
class RowError:
    """Why a row has no result."""

    error: str  # the class of it
    reason: str


class ShardWorker:
    """Has a client of its own, and writes what it is done with."""

    def __init__(self, job: ScoreJob) -> None:
        self.job = job
        self._output = ScoreOutput(job.output)
        self._client = job.host.connect()

    def score(self, shard: int) -> ShardOutcome:
        """Score the rows of a shard and publish them.

        Returns:
            What became of it; ``stopped`` where it is not a matter of the rows: the server is gone, the disk is full.
        """
        try:
            return self._score_and_publish(shard)
        except (ClientError, OSError) as error:
            return ShardOutcome(shard, stopped=str(error))

    def _score_and_publish(self, shard: int) -> ShardOutcome:
        path = self._output.shard(shard)
        outcomes = list(self._outcomes(path))
        failed = np.array([isinstance(outcome, RowError) for outcome in outcomes], bool)
        kept = pq.read_table(path, columns=[KEY, *self.job.keep])
        if failed.any():
            errors = _errors(kept.filter(failed), [outcomes[place] for place in np.flatnonzero(failed)])
            self._output.publish(self._output.error(shard), lambda aside: pq.write_table(errors, aside))
        results = self._results(kept.filter(~failed), [outcomes[place] for place in np.flatnonzero(~failed)])
        self._output.publish(self._output.result(shard), lambda aside: pq.write_table(results, aside))
        return ShardOutcome(shard, len(outcomes), int(failed.sum()))

    def _outcomes(self, path: Path) -> Iterator[Result | RowError]:
        """The outcomes of a shard's rows, in order; a bounded number of rows is in memory at a time."""
        most = self.job.in_flight + 1  # one is ready to go when a place becomes free
        waiting: deque[Future[list[Result | RowError]]] = deque()
        with ThreadPoolExecutor(self.job.in_flight) as pool:
            try:
                for values in _groups(path, self.job.task.rows_at_a_time):
                    waiting.append(pool.submit(self._score, values))
                    if len(waiting) == most:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _score(self, values: Sequence[str | bytes | None]) -> list[Result | RowError]:
        """Score some rows together; where one of them is bad, each by itself, to see which."""
        try:
            opened = [self._open(value) for value in values]
            return [*self._client.run(pinned(self.job.task.score(opened), self.job.models))]
        except Exception as error:  # a decoder may raise anything for a damaged file: it is the row's, and is reported
            if _ends_the_job(error):
                raise
            if len(values) == 1:
                return [RowError(type(error).__name__, _one_line(error))]
        return [outcome for value in values for outcome in self._score([value])]

    def _open(self, value: str | bytes | None) -> Value:
        if value is None:
            raise InvalidInputError("there is no value in this row")
        if self.job.values == "paths":  # as bytes: a name need not be UTF-8
            return self.job.permitted.open(os.fsdecode(value))
        if isinstance(value, bytes) or self.job.values == "texts":
            return value
        return self.job.permitted.open(value)

    def _results(self, kept: pa.Table, results: list[Any]) -> pa.Table:
        name = self.job.task.models[0]
        table = kept
        for field in self.job.task.fields(self.job.models[name].config):
            column = pa.array([result[field.name] for result in results], field.type)
            table = table.append_column(field, column)
        for title, text in (("model", name), ("model_version", self.job.models[name].version)):
            table = table.append_column(title, pa.array([text] * len(results), pa.string()))
        return table


def _groups(path: Path, size: int) -> Iterator[list[str | bytes | None]]:
    """The values of a shard, so many at a time; the same in every run, since a group may be scored as one batch."""
    group: list[str | bytes | None] = []
    for batch in read_shard(path):
        for value in batch.column(VALUE):
            group.append(value.as_py())
            if len(group) == size:
                yield group
                group = []
    if group:
        yield group


def _one_line(error: Exception) -> str:
    """What an error says; what of a name is not UTF-8 is escaped."""
    return " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()


def _errors(kept: pa.Table, errors: list[Any]) -> pa.Table:
    for title in ("error", "reason"):
        kept = kept.append_column(title, pa.array([getattr(error, title) for error in errors], pa.string()))
    return kept


def _ends_the_job(error: Exception) -> bool:
    """Whether no row could be scored now, as opposed to this one never."""
    if isinstance(error, (InvalidRequestError, ServerError)):
        return False
    return isinstance(error, (RequestError, ClientClosedError, MemoryError))
