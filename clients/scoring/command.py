"""The sub-command `score`: a whole collection, offline, by any task that can.

Each score task is a sub-command of its own; its options are the fields of its class.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import logging
import sys
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from neurips16.clients.protocol.command_options import JsonOption, Server, asks_server
from neurips16.clients.tasks import found_tasks

if TYPE_CHECKING:
    from neurips16.clients.scoring.task import ScoreTask
    from neurips16.clients.scoring.worker import InProcess, ThroughServer

SECONDS_PER_LINE = 30.0  # of progress, where there is no terminal
_HELP = """Score a collection of any size into Parquet.

A job that was interrupted resumes when it is started again. Exit status: 0 when it is complete, 1 when too many rows
failed or the server is gone, 2 when the input or the options cannot be used.
"""


class _ScoreTasks(TyperGroup):
    """The score tasks that are installed, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(name for task in found_tasks() for name in task.score)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for task in found_tasks():
            if cmd_name in task.score:
                with _needed():
                    kind = task.load(task.score[cmd_name])
                made = typer.Typer(add_completion=False)
                made.command(cmd_name)(_command(kind))
                return typer.main.get_command(made)
        return None


score = typer.Typer(cls=_ScoreTasks, help=_HELP, no_args_is_help=True)


def _command(kind: type[ScoreTask]) -> Callable[..., None]:
    """The sub-command of one score task."""
    options = list(_options(kind))
    names = [option.name for option in options]

    def command(server: Server, **given: Any) -> None:
        task = kind(**{name: given.pop(name) for name in names})
        _score(server, task=task, **given)

    own = inspect.signature(_score, eval_str=True).parameters
    first = [own[name] for name in ("server", "source", "output")]
    rest = [parameter for name, parameter in own.items() if name not in ("server", "source", "output", "task")]
    command.__signature__ = inspect.Signature([*first, *options, *rest])  # type: ignore[attr-defined]
    command.__doc__ = f"{inspect.getdoc(kind)}\n\n{_HELP}"
    return asks_server(command)


def _options(kind: Any) -> Iterator[inspect.Parameter]:
    """The fields of a score task's class as parameters of its command."""
    hints = typing.get_type_hints(kind)
    for one in dataclasses.fields(kind):
        option = typer.Option(help=one.metadata.get("help", ""), metavar=one.metadata.get("metavar"))
        default = inspect.Parameter.empty if one.default is dataclasses.MISSING else one.default
        yield inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hints[one.name], option]
        )


def _score(
    server: Server,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder, a pattern such as 'a/**/*.jpg', or tables (.parquet, .csv, .jsonl); or s3://…",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A folder: results/, errors/ and a summary.")],
    *,
    task: Any,  # a ScoreTask
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A model repository to run in the workers, in place of a server."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column of a table with the files, bytes or texts.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A column of a table to keep; may be repeated.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Worker processes.", show_default="one for each core with --models, else 1"
        ),
    ] = None,
    in_flight: Annotated[
        int, typer.Option(metavar="N", min=1, help="Concurrent requests to the server, for each worker.")
    ] = 8,
    shard_rows: Annotated[int, typer.Option(metavar="N", min=1, help="Rows in each output file.")] = 256,
    max_error_share: Annotated[
        float, typer.Option(metavar="X", min=0.0, max=1.0, help="Stop when a larger share of all rows has failed.")
    ] = 0.05,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on a Ray cluster: HOST:PORT, or auto for the one of this machine."),
    ] = None,
    allow_paths: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-paths",
            metavar="PREFIX",
            help="A folder or URL below which a row may open files, beside the input's own folder; may be repeated.",
        ),
    ] = None,
    max_file_bytes: Annotated[int, typer.Option(metavar="N", min=1, help="The largest file that a row may name.")] = 256
    << 20,
    op_library: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="NEURIPS16_OPS_LIBRARY", help="The library of native kernels for --models."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    from neurips16.clients.protocol.errors import InvalidInputError

    # Without a handler, what Daft logs would stand beside the one line of an error, which says it already.
    logging.getLogger().addHandler(logging.NullHandler())
    if models is not None and server.url is not None:
        raise InvalidInputError("--models runs them here, --url asks a server: give one of them")
    with _needed():
        from neurips16.clients.scoring.job import score as run

    started = time.monotonic()
    with _Bar() as bar:
        summary = run(
            task,
            source,
            output,
            host=_host(models, server, op_library),
            column=column,
            keep=keep or [],
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
    if as_json:
        facts = dataclasses.asdict(summary) | {"seconds": round(seconds, 3), "results": str(output / "results")}
        typer.echo(json.dumps(facts | {"errors": str(output / "errors")}))
        return
    typer.echo(
        f"{summary.rows:,} row{'s' * (summary.rows != 1)}: {summary.rows - summary.failed:,} scored, "
        f"{summary.failed:,} failed; {now:,} in this run, {seconds:.1f} s ({now / seconds:,.1f} a second)"
    )
    typer.echo(f"results: {output / 'results'}" + (f", errors: {output / 'errors'}" if summary.failed else ""))


@contextlib.contextmanager
def _needed() -> Iterator[None]:
    from neurips16.clients.protocol.errors import InvalidInputError

    try:
        yield
    except ModuleNotFoundError as error:
        raise InvalidInputError(f"`neurips16 score` needs {error.name!r}: pip install 'neurips16[batch]'") from error


def _host(models: Path | None, server: Server, op_library: Path | None) -> InProcess | ThroughServer:
    from neurips16.clients.protocol.connection import MODEL_MAY_RETURN, Retry
    from neurips16.clients.scoring.worker import InProcess, ThroughServer

    if models is not None:
        return InProcess(models.absolute(), op_library=None if op_library is None else op_library.absolute())
    # Rows must not be put among the errors because a model's process died under them.
    return ThroughServer(server.connection(retry=Retry(attempts=8, codes=MODEL_MAY_RETURN)))


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
