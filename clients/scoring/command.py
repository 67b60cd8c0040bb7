"""The sub-command `score`: a whole collection, offline."""

from __future__ import annotations

import logging
import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurips16.clients.models_command import UrlOption

if TYPE_CHECKING:
    from neurips16.clients.scoring.tasks import Task
    from neurips16.clients.scoring.worker import InProcess, ThroughServer

SECONDS_PER_LINE = 30.0  # of progress, where there is no terminal


class TaskName(str, Enum):
    """What can be asked of each row."""

    detect = "detect"
    classify_sound = "classify-sound"
    rank_premises = "rank-premises"
    classify_image = "classify-image"
    embed = "embed"


_OPTIONS = {  # which options a task has, beside those that all have
    TaskName.detect: ("model", "min_score"),
    TaskName.classify_sound: ("top",),
    TaskName.rank_premises: ("premises", "top"),
    TaskName.classify_image: ("model", "top"),
    TaskName.embed: ("model",),
}
_NEEDED = {TaskName.rank_premises: "premises", TaskName.classify_image: "model"}


def score(
    task: Annotated[TaskName, typer.Argument(help="What to find out of each row.", show_default=False)],
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder, a pattern such as 'a/**/*.jpg', or tables (.parquet, .csv, .jsonl); or s3://…",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A folder: results/, errors/ and a summary.")],
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A model repository to run in the workers, in place of a server."),
    ] = None,
    url: UrlOption = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a table: the column with files, bytes or texts.")
    ] = None,
    keep: Annotated[str, typer.Option(metavar="NAMES", help="Columns of a table to keep, with commas between.")] = "",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model to ask, where a task has several.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(metavar="S", help="detect: leave out what is less sure.")] = None,
    top: Annotated[int | None, typer.Option(metavar="K", min=1, help="Keep the best K only.")] = None,
    premises: Annotated[
        Path | None, typer.Option(metavar="PATH", help="rank-premises: an index, or a file of statements.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processes [default: one for each core with --models, else 1]"),
    ] = None,
    in_flight: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests to a server under way at the same time.")
    ] = 8,
    shard_rows: Annotated[int, typer.Option(metavar="N", min=1, help="Rows of a file of the output.")] = 256,
    max_error_share: Annotated[
        float, typer.Option(metavar="X", min=0.0, max=1.0, help="End when more of all rows than this share failed.")
    ] = 0.05,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Let a Ray cluster do it: HOST:PORT, or auto for this machine's."),
    ] = None,
    allow_paths: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-paths",
            metavar="PREFIX",
            help="A folder or URL below which a row may open files, beside the input's own folder; may be repeated.",
        ),
    ] = None,
    max_file_bytes: Annotated[int, typer.Option(metavar="N", min=1, help="Of a file that a row names.")] = 256 << 20,
    op_library: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="NEURIPS16_OPS_LIBRARY", help="Native kernels for --models."),
    ] = None,
) -> None:
    """Score a collection of any size into Parquet; broken off and started again, it finishes what is missing.

    Ends with 0 when it is through, 1 when too many rows failed or the server is gone, 2 when it cannot be done so.
    """
    from neurips16.clients.protocol.errors import InvalidInputError

    # Without a handler, what Daft logs would stand beside the one line of an error, which says it already.
    logging.getLogger().addHandler(logging.NullHandler())
    if models is not None and url is not None:
        raise InvalidInputError("--models runs them here, --url asks a server: give one of them")
    try:
        from neurips16.clients.scoring.job import score as run
    except ModuleNotFoundError as error:
        raise InvalidInputError(f"`neurips16 score` needs {error.name!r}: pip install 'neurips16[batch]'") from error

    given = {"model": model, "min_score": min_score, "top": top, "premises": premises}
    made = _task(task, {name: value for name, value in given.items() if value is not None})
    started = time.monotonic()
    with _Bar() as bar:
        summary = run(
            made,
            source,
            output,
            host=_host(models, url, op_library),
            column=column,
            keep=[name for name in keep.split(",") if name],
            shard_rows=shard_rows,
            workers=workers,
            in_flight=in_flight,
            max_error_share=max_error_share,
            ray=ray,
            allow_paths=allow_paths or (),
            max_file_bytes=max_file_bytes,
            progress=bar.show,
        )
    seconds = time.monotonic() - started
    now = summary.rows - summary.before
    typer.echo(
        f"{summary.rows:,} rows: {summary.rows - summary.failed:,} scored, {summary.failed:,} failed; "
        f"{now:,} of them now, in {seconds:.1f} s ({now / seconds:,.1f} a second)"
    )
    typer.echo(f"results: {output / 'results'}" + (f", errors: {output / 'errors'}" if summary.failed else ""))


def _task(name: TaskName, given: dict[str, Any]) -> Task:
    from neurips16.clients.protocol.errors import InvalidInputError
    from neurips16.clients.scoring.tasks import TASKS

    for option in given:
        if option not in _OPTIONS[name]:
            raise InvalidInputError(f"{name.value} has no --{option.replace('_', '-')}")
    if (needed := _NEEDED.get(name)) is not None and needed not in given:
        raise InvalidInputError(f"{name.value} needs --{needed}")
    return TASKS[name.value](**given)


def _host(models: Path | None, url: str | None, op_library: Path | None) -> InProcess | ThroughServer:
    from neurips16.clients.protocol.connection import MODEL_MAY_RETURN, Connection, Retry
    from neurips16.clients.scoring.worker import InProcess, ThroughServer

    if models is not None:
        return InProcess(models.absolute(), op_library=None if op_library is None else op_library.absolute())
    # Rows must not be put among the errors because a model's process died under them.
    return ThroughServer(Connection.of(url, retry=Retry(attempts=8, codes=MODEL_MAY_RETURN)))


class _Bar:
    """Rows done, rate and time left: a bar on a terminal, elsewhere a line from time to time, as a log wants it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._task: Any = None
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._started = self._said = time.monotonic()

    def __enter__(self) -> _Bar:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def show(self, progress: Any) -> None:
        """Take in how far the job is; see `neurips16.clients.scoring.job.Progress`."""
        if self._task is None:
            self._started = self._said = time.monotonic()
            self._task = self._bar.add_task("rows", total=progress.total, rate="", failed="")
        now = time.monotonic()
        seconds = now - self._started
        rate = (progress.rows - progress.before) / seconds if seconds else 0.0
        if self._bar.disable and rate and now - self._said >= SECONDS_PER_LINE:
            self._said = now
            typer.echo(
                f"{progress.rows:,} of {progress.total:,} rows, {progress.failed:,} failed, {rate:,.1f} a second, "
                f"{(progress.total - progress.rows) / rate:,.0f} s left",
                err=True,
            )
        failed = f"[red]{progress.failed} failed" if progress.failed else ""
        self._bar.update(self._task, completed=progress.rows, rate=f"{rate:,.1f}/s", failed=failed)
