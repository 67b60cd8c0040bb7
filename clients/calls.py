"""The calls of all tasks as methods of the clients; ``client.detect(…)`` is ``client.run(detect(…))``.

What the methods are comes from the tasks' manifests, so no client names a task. A call's module is imported when the
method is first looked at. Editors read `calls.pyi`, which `make stub` writes from the same manifests.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from neurips16.clients.protocol.errors import TaskError
from neurips16.clients.tasks import Task, found_tasks


class _Call:
    """A method that is made when it is first asked for."""

    def __init__(self, task: Task, name: str, *, asynchronous: bool) -> None:
        self._task, self._name, self._asynchronous = task, name, asynchronous
        self._method: Callable[..., Any] | None = None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if self._method is None:
            self._method = _method(self._name, self._task.load(self._task.calls[self._name]), self._asynchronous)
        return self._method.__get__(instance, owner)


def _method(name: str, operation: Callable[..., Any], asynchronous: bool) -> Callable[..., Any]:
    if asynchronous:

        async def method(self: Any, *arguments: Any, timeout_s: float | None = None, **options: Any) -> Any:
            return await self.run(operation(*arguments, **options), timeout_s=timeout_s)

    else:

        def method(self: Any, *arguments: Any, timeout_s: float | None = None, **options: Any) -> Any:
            return self.run(operation(*arguments, **options), timeout_s=timeout_s)

    method.__name__ = method.__qualname__ = name
    method.__module__, method.__doc__ = operation.__module__, operation.__doc__
    method.__signature__ = method_signature(operation)  # type: ignore[attr-defined]
    return method


def method_signature(operation: Callable[..., Any]) -> inspect.Signature:
    """The signature of the method that an operation's function becomes."""
    signature = inspect.signature(operation)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    timeout = inspect.Parameter("timeout_s", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="float | None")
    result = str(signature.return_annotation).removeprefix("Operation[").removesuffix("]")
    return inspect.Signature([own, *signature.parameters.values(), timeout], return_annotation=result)


def _install(cls: type, *, asynchronous: bool) -> None:
    for task in found_tasks():
        for name in task.calls:
            setattr(cls, name, _Call(task, name, asynchronous=asynchronous))


def _check(cls: type) -> None:
    for task in found_tasks():
        if taken := sorted(set(task.calls) & set(vars(cls))):
            raise TaskError(f"the task {task.name!r} of {task.package} adds a call {taken[0]!r}, which clients have")


class TaskCalls:
    """Every call of every task, blocking."""

    def __init_subclass__(cls) -> None:
        _check(cls)


class AsyncTaskCalls:
    """Every call of every task, to be awaited."""

    def __init_subclass__(cls) -> None:
        _check(cls)


_install(TaskCalls, asynchronous=False)
_install(AsyncTaskCalls, asynchronous=True)
