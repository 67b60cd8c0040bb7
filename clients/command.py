"""The `neurips16` command: finds its sub-commands, runs one, and turns its errors into one line.

Sub-commands are those of the tasks (see `neurips16.clients.tasks`) and the entry points of the group
``neurips16.commands``, where each package has its own; only the one that is asked for is imported. A sub-command is a
function with typer annotations, or a `typer.Typer` of several; an attribute ``context_settings`` on a function is
handed to click. An exception that has an ``exit_status`` is meant for the user: its text is printed without a
traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from neurips16.clients.tasks import found_tasks

GROUP = "neurips16.commands"
INTERRUPTED_STATUS = 130  # as a shell reports a process that SIGINT ended
_SUMMARY = "Train, export, serve and use the systems of eighteen NIPS 2016 papers."


@dataclass(frozen=True)
class _Command:
    """A sub-command that is installed."""

    name: str
    load: Callable[[], Any]
    module: str  # where it is, for who has to install something
    panel: str | None = None  # of the help text


class _InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx))


def main() -> None:
    """Run `neurips16 COMMAND …`; never returns."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own log would stand beside the one line of an error
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    module = ""
    try:
        found = _commands()
        module = found[asked].module if asked in found else ""
        _application(found, asked)(prog_name="neurips16")
    except KeyboardInterrupt:
        _fail("interrupted", status=INTERRUPTED_STATUS)
    except BrokenPipeError:  # the reader of our output has gone: what `head` does is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except ModuleNotFoundError as error:
        if not module or (error.name or "").startswith("neurips16"):
            raise
        _fail(f"`neurips16 {asked}` needs {error.name!r}: {_remedy(module)}", status=2)
    except Exception as error:
        status = getattr(error, "exit_status", None)
        if status is None:
            raise
        _fail(str(error), status=status)


def _commands() -> dict[str, _Command]:
    """Every sub-command by its name.

    Raises:
        TaskError: two have one name.
    """
    found = {entry.name: _Command(entry.name, entry.load, entry.module) for entry in entry_points(group=GROUP)}
    for task in found_tasks():
        for name, reference in task.command.items():
            if name in found:
                from neurips16.clients.protocol.errors import TaskError

                raise TaskError(f"the command {name!r} of {task.package} is one of {found[name].module}, too")
            found[name] = _Command(name, partial(task.load, reference), task.package, task.group)
    return found


def command_line() -> typer.Typer:
    """The whole command with every sub-command that can be imported here."""
    return _application(_commands(), "")


def _application(found: dict[str, _Command], asked: str) -> typer.Typer:
    app = typer.Typer(
        name="neurips16", help=_SUMMARY, cls=_InOrder, no_args_is_help=True, pretty_exceptions_enable=False
    )
    app.callback()(_root)  # with a callback, typer keeps the sub-command's name even when only one is loaded
    for name in [asked] if asked in found else sorted(found, key=lambda name: (found[name].panel or "", name)):
        command = found[name]
        try:
            function = command.load()
        except ModuleNotFoundError:
            if name == asked:
                raise
            continue  # `--help` of an installation with fewer extras lists what it can run
        if isinstance(function, typer.Typer):  # a command with sub-commands of its own
            app.add_typer(function, name=name, rich_help_panel=command.panel)
        else:
            settings = getattr(function, "context_settings", None)
            app.command(name, context_settings=settings, rich_help_panel=command.panel)(function)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"neurips16 {version('neurips16')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


_root.__doc__ = _SUMMARY


def _remedy(module: str) -> str:
    package = module.split(".")[1] if module.startswith("neurips16.") else None
    return f"pip install 'neurips16[{package}]'" if package else f"install what {module} needs"


def _fail(message: str, *, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    raise SystemExit(status)
