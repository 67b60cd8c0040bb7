"""The `neurips16` command: finds its sub-commands, runs one, and turns its errors into one line.

Each room registers its sub-commands as entry points of the group ``neurips16.commands``; only the one that is asked
for is imported. A sub-command is a function with typer annotations, or a `typer.Typer` of several; an attribute
``context_settings`` on a function is handed to click. An exception that has an ``exit_status`` is meant for the user:
its text is printed without a traceback.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer

GROUP = "neurips16.commands"
INTERRUPTED_STATUS = 130  # as a shell reports a process that SIGINT ended


def main() -> None:
    """Run `neurips16 COMMAND …`; never returns."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own log would stand beside the one line of an error
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    app = typer.Typer(
        name="neurips16",
        help="Train, export, serve and use the systems of eighteen NIPS 2016 papers.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)  # with a callback, typer keeps the sub-command's name even when only one is loaded
    for name in [asked] if asked in found else sorted(found):
        try:
            function = found[name].load()
        except ModuleNotFoundError as error:
            if name == asked:
                _fail(f"`neurips16 {name}` needs {error.name!r}: {_remedy(found[name].module)}", status=2)
            continue  # `--help` of an installation with fewer extras lists what it can run
        if isinstance(function, typer.Typer):  # a command with sub-commands of its own
            app.add_typer(function, name=name)
        else:
            app.command(name, context_settings=getattr(function, "context_settings", None))(function)
    try:
        app()
    except KeyboardInterrupt:
        _fail("interrupted", status=INTERRUPTED_STATUS)
    except BrokenPipeError:  # the reader of our output has gone: what `head` does is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except ModuleNotFoundError as error:
        if asked not in found or (error.name or "").startswith("neurips16"):
            raise
        _fail(f"`neurips16 {asked}` needs {error.name!r}: {_remedy(found[asked].module)}", status=2)
    except Exception as error:
        status = getattr(error, "exit_status", None)
        if status is None:
            raise
        _fail(str(error), status=status)


def _root() -> None:
    """Train, export, serve and use the systems of eighteen NIPS 2016 papers."""


def _remedy(module: str) -> str:
    room = module.split(".")[1] if module.startswith("neurips16.") else None
    return f"pip install 'neurips16[{room}]'" if room else f"install what {module} needs"


def _fail(message: str, *, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    raise SystemExit(status)
