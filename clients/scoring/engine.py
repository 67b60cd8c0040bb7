"""Puts shards onto workers: Daft does it, in processes of this machine or on a Ray cluster.

To Daft a shard is one row, and scoring it a function with a state. Since a shard may be scored twice without harm, the
engine is free to try again what it lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from neurips16.clients.media.limits import VARIABLES
from neurips16.clients.protocol.errors import InvalidInputError, ScoringError
from neurips16.clients.scoring.engine_process import EngineProcess
from neurips16.clients.scoring.worker import ScoreJob, ShardOutcome, ShardWorker  # first: it says how Daft is imported

import daft  # isort: skip
from daft import DataType  # isort: skip
from daft.runners import get_or_create_runner  # isort: skip

CONNECT_S = 5.0
_OUTCOME = DataType.struct(
    {"shard": DataType.int64(), "rows": DataType.int64(), "failed": DataType.int64(), "stopped": DataType.string()}
)


def use_ray(address: str) -> int:
    """Make a Ray cluster the engine of this process; returns its cores.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or ``auto`` for a cluster that runs on this machine.

    To be called before anything is done with Daft: it keeps the engine that it began with.

    Raises:
        InvalidInputError: Ray is not installed, no cluster is there, or Daft has begun with another engine.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InvalidInputError("--ray needs Ray: pip install 'neurips16[ray]'") from error
    limits = {name: os.environ[name] for name in VARIABLES if name in os.environ}  # the workers' as well
    try:
        if ":" in address:  # Ray itself would go on trying for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_S).close()
        ray.init(
            address=address,
            ignore_reinit_error=True,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"DAFT_ANALYTICS_ENABLED": "0", **limits}},
        )
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"no Ray cluster answers at {address}: {error}") from error
    daft.set_runner_ray(noop_if_initialized=True)
    if get_or_create_runner().name != "ray":
        raise InvalidInputError("Daft runs on its embedded engine in this process already: use Ray in another one")
    return int(ray.cluster_resources().get("CPU", 1))


def score_shards(job: ScoreJob, shards: Sequence[int], *, workers: int, on_ray: bool) -> Iterator[ShardOutcome]:
    """Score shards, and tell of each when it is done, in order.

    Whether all of them are done, the output tells: an iteration of Daft's that is broken off ends like one that is
    through.

    Args:
        job: what is to be done.
        shards: their numbers.
        workers: processes on this machine, or actors on the cluster.
        on_ray: see `use_ray`; else the engine that is embedded in a process of its own.

    Raises:
        ScoringError: a worker was killed, or failed for another reason than its rows.
    """
    if on_ray:
        yield from _scored(job, shards, workers=workers, on_ray=True)
    else:
        with EngineProcess((job, list(shards), workers)) as engine:
            yield from engine.outcomes()


def _scored(job: ScoreJob, shards: Sequence[int], *, workers: int, on_ray: bool) -> Iterator[ShardOutcome]:
    worker = daft.cls(_Worker, max_concurrency=workers, use_process=None if on_ray else True)(job)
    frame = daft.from_pydict({"shard": list(shards)})
    if on_ray:
        frame = frame.into_partitions(len(shards))  # what moves to a worker is a partition
    scored = frame.select(worker.score(frame["shard"]).alias("outcome"))
    try:
        found: Any = scored.iter_rows(results_buffer_size=None if on_ray else 1)  # a generator, whatever its type says
        with contextlib.closing(found) as rows:
            for row in rows:
                yield ShardOutcome(**row["outcome"])
    except (RuntimeError, OSError) as error:  # a worker was killed, or its code failed: then the traceback is in it
        raise ScoringError(f"a worker failed; what is done is kept: {error}") from error


def run_embedded(job: ScoreJob, shards: Sequence[int], workers: int) -> Iterator[ShardOutcome]:
    """What the process of `EngineProcess` does."""
    return _scored(job, shards, workers=workers, on_ray=False)


class _Worker:
    """The class of which each worker makes one instance."""

    def __init__(self, job: ScoreJob) -> None:
        self._worker = ShardWorker(job)

    @daft.method.batch(return_dtype=_OUTCOME, batch_size=1)
    def score(self, shards: Any) -> list[dict[str, Any]]:
        return [asdict(self._worker.score(shard)) for shard in shards.to_pylist()]
