"""The tasks: one package each, whose `TASK` says in plain strings what the task adds, and where that is.

A task is found by its place in this folder or, in other people's packages, by an entry point of the group
``neurips16.tasks`` that names its `Task`. From then on its calls are methods of the clients, its commands are
sub-commands of `neurips16`, its tabs are on the page, and `neurips16 score` knows it; nothing else lists tasks. A
manifest imports nothing of what it names.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

GROUP = "neurips16.tasks"


@dataclass(frozen=True)
class Task:
    """What a person can ask for. References are MODULE:NAME, the module below the task's own package ("" is itself).

    Attributes:
        name: in snake case; the same everywhere.
        summary: half a sentence: what it does.
        group: tasks of one group stand together in help texts and on the page.
        models: that it asks, as they ship.
        calls: method of the clients -> an operation's generator function.
        command: sub-command of `neurips16` -> a function with typer annotations, or a `typer.Typer`.
        tab: address on the page -> a `neurips16.clients.page.parts.Tab`.
        score: name in `neurips16 score` -> a `neurips16.clients.scoring.task.ScoreTask`.
        examples: command lines that show it, without the leading `neurips16`; ``{examples}`` is the task's folder of
            that name, ``{output}`` a folder to write to.
        package: where it was found; filled in by `found_tasks`.
    """

    name: str
    summary: str
    group: str
    models: tuple[str, ...] = ()
    calls: Mapping[str, str] = field(default_factory=dict)
    command: Mapping[str, str] = field(default_factory=dict)
    tab: Mapping[str, str] = field(default_factory=dict)
    score: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    package: str = ""

    def load(self, reference: str) -> Any:
        """Import what a reference names."""
        module, _, name = reference.partition(":")
        return getattr(import_module(f"{self.package}.{module}" if module else self.package), name)

    @property
    def folder(self) -> Path:
        """The task's inputs to try it with: the folder ``examples`` of its package."""
        return Path(import_module(self.package).__file__ or "").parent / "examples"


@functools.lru_cache(maxsize=1)
def found_tasks() -> tuple[Task, ...]:
    """Every task that is installed, ours first, each by its name.

    Raises:
        TaskError: one cannot be loaded, or two share a name.
    """
    ours = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    tasks = [_task(f"{__name__}.{name}", import_module(f"{__name__}.{name}").TASK) for name in ours]
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            tasks.append(_task(entry.module, entry.load()))
        except (ImportError, AttributeError) as error:
            raise _error(f"the task {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error
    check_tasks(tasks)
    return tuple(tasks)


def check_tasks(tasks: Iterable[Task]) -> None:
    """See that no name is used twice.

    Raises:
        TaskError: one is.
    """
    owners: dict[tuple[str, str], Task] = {}
    for task in tasks:
        names = [("task", task.name), *(("call", name) for name in task.calls)]
        names += [("command", name) for name in task.command] + [("tab", name) for name in task.tab]
        names += [("score", name) for name in task.score]
        for kind, name in names:
            if (other := owners.setdefault((kind, name), task)) is not task:
                raise _error(
                    f"the {kind} {name!r} is in {other.package} and in {task.package}: rename it in one of them, or "
                    f"uninstall one"
                )


def _task(package: str, task: Any) -> Task:
    if not isinstance(task, Task):
        raise _error(f"{package} has {type(task).__name__} as its task, expected neurips16.clients.tasks.Task")
    return replace(task, package=package)


def _error(text: str) -> Exception:
    from neurips16.clients.protocol.errors import TaskError  # not needed to list tasks, and imports gRPC

    return TaskError(text)
