"""Scoring a collection offline: what a job is, from its input to its summary.

The input is cut into shards once; workers score the shards, and publish each when it is whole. What is on the disk says
what is done, so a job that was broken off, however hard, goes on when it is started again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from neurips16.clients.client import Client
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError, ScoringError
from neurips16.clients.scoring.bound_models import BoundModel, bind, pinned
from neurips16.clients.scoring.cores import usable_cores
from neurips16.clients.scoring.engine import score_shards, use_ray
from neurips16.clients.scoring.output import ScoreOutput
from neurips16.clients.scoring.permitted_sources import MAX_FILE_BYTES, PermittedSources
from neurips16.clients.scoring.sources import KEY, VALUE, Source, cut_into_shards
from neurips16.clients.scoring.tables import is_binary, is_text
from neurips16.clients.scoring.task import ScoreTask
from neurips16.clients.scoring.worker import InProcess, ScoreJob, ShardOutcome, ThroughServer

SHARD_ROWS = 256  # what a worker loses at most when it is killed
IN_FLIGHT = 8
MAX_ERROR_SHARE = 0.05


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    rows: int  # that are done, with or without a result
    failed: int  # of them
    total: int
    before: int  # rows that an earlier run had done


@dataclass(frozen=True)
class ScoreSummary:
    """What a job came to."""

    rows: int
    failed: int
    before: int  # rows that earlier runs had done


def score(
    task: ScoreTask,
    source: str,
    output: str | Path,
    *,
    host: InProcess | ThroughServer,
    column: str | None = None,
    keep: Sequence[str] = (),
    shard_rows: int = SHARD_ROWS,
    workers: int | None = None,
    in_flight: int = IN_FLIGHT,
    max_error_share: float = MAX_ERROR_SHARE,
    ray: str | None = None,
    allow_paths: Sequence[str] = (),
    max_file_bytes: int = MAX_FILE_BYTES,
    progress: Callable[[Progress], None] = lambda _: None,
) -> ScoreSummary:
    """Score every row of an input, once, whatever happened to earlier runs of the same job.

    Args:
        task: what is to be found out of each row.
        source: a folder, a pattern, or tables; see `Source.find`.
        output: a folder, which is made or taken up again; see `score_output`. With ``ray`` all workers must see it.
        host: where the models run.
        column: of a table, the one with files, bytes or texts; may be left out where there is but one.
        keep: columns of a table that the output shall have, too.
        shard_rows: rows of a file of the output.
        workers: that score at the same time; None takes one for each core where the models run in them, else one.
        in_flight: requests to a server that are under way at the same time, of all workers together.
        max_error_share: as soon as more of all rows than this share has failed, the job ends.
        ray: the address of a Ray cluster, which is the engine then; see `use_ray`.
        allow_paths: folders and URLs below which files may lie besides; see `permitted_sources`.
        max_file_bytes: of a file that a row names.
        progress: called when the input is cut, and after each shard.

    Raises:
        InvalidInputError: an argument, the input or the output cannot be used.
        ScoringError: too many rows have failed, or no more can be scored now; started again, the job goes on.
    """
    if not 0 <= max_error_share <= 1 or shard_rows < 1 or in_flight < 1 or (workers is not None and workers < 1):
        raise InvalidInputError(
            f"max_error_share is 0 to 1 and shard_rows, workers and in_flight at least 1, got {max_error_share}, "
            f"{shard_rows}, {workers} and {in_flight}"
        )
    cores = usable_cores() if ray is None else use_ray(ray)
    place = ScoreOutput(output)
    found = Source.find(source, but=place.folder)
    permitted = PermittedSources(found.base, tuple(map(_absolute, allow_paths)), max_file_bytes)
    column, values = _column(found, column, keep, task)
    client = host.connect()
    try:
        models = client.run(bind(task.models))
        client.run(pinned(task.check(), models))
        _check_names(keep, task, models)
        manifest = {
            "task": task.name,
            "options": task.options(),
            "models": _described(models, client),
            "input": {"path": found.base, "files": len(found.paths), "fingerprint": found.fingerprint},
            "column": column,
            "keep": list(keep),
            "shard_rows": shard_rows,
            "allow_paths": list(permitted.prefixes),
            "max_file_bytes": max_file_bytes,
        }
        with place.claimed(manifest):
            if (finished := place.summary) is not None:
                _check_share(finished["failed"], finished["rows"], max_error_share, place)
                return ScoreSummary(**finished, before=finished["rows"])
            task = client.run(pinned(task.prepare(place.work), models))
            if (cut := place.cut) is None:
                cut = place.cut = cut_into_shards(found, column, keep, place, shard_rows=shard_rows)
            job = ScoreJob(place.folder, task, models, host, values, permitted, tuple(keep), in_flight)
            crew = _Crew.of(job, cut["shards"] - len(place.done()), workers, cores, on_ray=ray is not None)
            summary = _score_missing(place, crew, cut, max_error_share, progress)
            place.finish({"rows": summary.rows, "failed": summary.failed})
            return summary
    finally:
        client.close()


def _absolute(prefix: str) -> str:
    return prefix if "://" in prefix else os.path.abspath(prefix)


@dataclass(frozen=True)
class _Crew:
    """So many workers, each with its share of the machine or of the requests."""

    job: ScoreJob
    workers: int
    on_ray: bool

    @classmethod
    def of(cls, job: ScoreJob, shards: int, workers: int | None, cores: int, *, on_ray: bool) -> _Crew:
        if isinstance(job.host, InProcess):
            workers = max(1, min(workers or cores, shards))
            threads = 1 if on_ray else max(1, cores // workers)
            job = replace(job, host=replace(job.host, threads=threads), in_flight=1)
        else:
            workers = max(1, min(workers or 1, shards, job.in_flight))
            job = replace(job, in_flight=job.in_flight // workers)
        return cls(job, workers, on_ray)


def _score_missing(
    place: ScoreOutput,
    crew: _Crew,
    cut: dict[str, int],
    max_error_share: float,
    progress: Callable[[Progress], None],
) -> ScoreSummary:
    done = place.done()
    missing = [shard for shard in range(cut["shards"]) if shard not in done]
    rows = before = sum(place.rows(shard) for shard in done)
    failed = place.failures()
    with contextlib.closing(_outcomes(crew, missing)) as outcomes:
        while True:
            progress(Progress(rows, failed, cut["rows"], before))
            _check_share(failed, cut["rows"], max_error_share, place)
            if (outcome := next(outcomes, None)) is None:
                break
            if outcome.stopped:
                raise ScoringError(f"{outcome.stopped}; {rows} of {cut['rows']} rows are done: run this again to go on")
            rows, failed = rows + outcome.rows, failed + outcome.failed
    done = place.done()
    rows = sum(place.rows(shard) for shard in done)
    # An engine that was broken off, by a signal say, ends as one does that is through: the disk tells them apart.
    if len(done) != cut["shards"] or rows != cut["rows"]:
        raise ScoringError(f"broken off: {rows} of {cut['rows']} rows are done: run this again to go on")
    return ScoreSummary(rows, place.failures(), before)


def _outcomes(crew: _Crew, shards: list[int]) -> Generator[ShardOutcome, None, None]:
    if shards:
        yield from score_shards(crew.job, shards, workers=crew.workers, on_ray=crew.on_ray)


def _check_share(failed: int, rows: int, allowed: float, place: ScoreOutput) -> None:
    if failed > allowed * rows:
        raise ScoringError(
            f"{failed} of {rows} rows have failed, more than the share of {allowed:g}: see {place.errors}; allow more "
            f"with --max-error-share, and it goes on from here"
        )


def _column(
    source: Source, column: str | None, keep: Sequence[str], task: ScoreTask
) -> tuple[str | None, Literal["paths", "files", "bytes", "texts"]]:
    """The column with the values, and what they are."""
    columns = source.columns()
    asked = [name for name in (column, *keep) if name is not None]
    if source.kind == "files":
        if asked:
            raise InvalidInputError(f"{source.given} holds files and no table, so there is no column {asked[0]!r}")
        return None, "paths"
    if column is None and len(columns) == 1:
        (column,) = columns
    if column is None or not set(asked) <= set(columns):
        unknown = ", ".join(name for name in asked if name not in columns)
        raise InvalidInputError(
            f"{source.given} has the columns {', '.join(columns)}"
            + (f", but not {unknown}" if unknown else ": say with --column which of them is to be scored")
        )
    dtype = source.types([column, *keep])[column]
    if is_binary(dtype):
        return column, "bytes"
    if is_text(dtype):
        return column, "files" if task.wants == "file" else "texts"
    raise InvalidInputError(f"the column {column!r} of {source.given} holds {dtype}, expected texts or bytes")


def _check_names(keep: Sequence[str], task: ScoreTask, models: dict[str, BoundModel]) -> None:
    ours = {KEY, VALUE, "model", "model_version", "error", "reason"}
    ours |= {field.name for field in task.fields(models[task.models[0]].config)}
    if taken := sorted((ours & set(keep)) | {name for name in keep if list(keep).count(name) > 1}):
        raise InvalidInputError(f"the output has a column {taken[0]!r} already: it cannot keep one of that name")


def _described(models: dict[str, BoundModel], client: Client | LocalClient) -> dict[str, dict[str, str]]:
    """The models as the manifest names them: results of another version, or file, must not stand beside theirs."""
    return {
        name: {
            "version": model.version,
            "fingerprint": model.fingerprint,
            "from": client.model(name).sha256[:16] if isinstance(client, LocalClient) else "a server",
        }
        for name, model in sorted(models.items())
    }
