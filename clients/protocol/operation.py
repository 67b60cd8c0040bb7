"""What an operation may ask of the client that runs it, and the part of running it that needs no IO.

An *operation* is a generator: it yields what it wants, is sent the answer, and returns its result. So one and the same
operation runs on a blocking client, on an asyncio client, and on models in this process. It may yield

* an iterable of calls: all are made, some at the same time; it is sent their answers in the same order, and the first
  error is raised at the ``yield``;
* an `Each`: the same, but every ``yield`` of it is sent the next `Reply`, in the order of arrival, then None;
* an `Emit`: a value for whoever streams the operation; `run` passes over it;
* a `Defer`: an operation for later, when this one has ended in whatever way.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from neurips16.clients.protocol.errors import ClientError
from neurips16.clients.protocol.messages import Rpc

T = TypeVar("T")
Operation = Generator[Any, Any, T]
Perform = Callable[[Iterable[Rpc]], Generator["Reply", None, None]]  # makes calls, and replies as answers arrive
AsyncPerform = Callable[[Iterable[Rpc]], AsyncGenerator["Reply", None]]


@dataclass(frozen=True)
class Emit:
    """A partial result, such as a character or the progress of long work."""

    value: Any


@dataclass(frozen=True)
class Reply:
    """What became of one call of a group."""

    place: int  # of the call in its group
    answer: Any = None
    error: ClientError | None = None

    def result(self) -> Any:
        """The decoded answer.

        Raises:
            ClientError: there is none.
        """
        if self.error is not None:
            raise self.error
        return self.answer


class Each:
    """A group of calls whose replies are taken one by one: ``while reply := (yield each): …``."""

    def __init__(self, calls: Iterable[Rpc]) -> None:
        self.calls = calls


@dataclass(frozen=True)
class Defer:
    """An operation that runs when the present one has ended, failed or been given up; its own errors are dropped."""

    begin: Callable[[], Operation[Any]]


def single(rpc: Rpc[T]) -> Operation[T]:
    """The operation that makes one call and returns its answer."""
    (answer,) = yield [rpc]
    return answer


class Stream(Generic[T]):
    """An operation under way: iterate over what it emits, then take its `result`.

    Leave it early with `close`, or use it as a context: calls under way are given up and what was opened is closed.
    """

    result: T  # once it is through

    def __init__(self, operation: Operation[T], perform: Perform) -> None:
        self._steps = self._drive(operation, perform)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._steps)

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the operation up."""
        self._steps.close()

    def _drive(self, operation: Operation[T], perform: Perform) -> Generator[Any, None, None]:
        steps = _steps(operation)
        step = partial(next, steps)
        while True:
            try:
                asked = step()
            except StopIteration as stop:
                self.result = stop.value
                return
            except _GivenUp:
                return
            answer: Any = None
            try:
                if isinstance(asked, Emit):
                    yield asked.value
                elif isinstance(asked, _Begin):
                    answer = perform(asked.calls)
                elif isinstance(asked, _Next):
                    answer = next(asked.replies, None)
                else:
                    asked.replies.close()
            except GeneratorExit:
                step = partial(steps.throw, _GivenUp())
            except BaseException as error:  # KeyboardInterrupt, too: what was begun is ended
                step = partial(steps.throw, error)
            else:
                step = partial(steps.send, answer)


class AsyncStream(Generic[T]):
    """As `Stream`, for ``async for`` and ``async with``."""

    result: T

    def __init__(self, operation: Operation[T], perform: AsyncPerform) -> None:
        self._steps = self._drive(operation, perform)

    def __aiter__(self) -> AsyncStream[T]:
        return self

    async def __anext__(self) -> Any:
        return await self._steps.__anext__()

    async def __aenter__(self) -> AsyncStream[T]:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the operation up."""
        await self._steps.aclose()

    async def _drive(self, operation: Operation[T], perform: AsyncPerform) -> AsyncGenerator[Any, None]:
        steps = _steps(operation)
        step = partial(next, steps)
        while True:
            try:
                asked = step()
            except StopIteration as stop:
                self.result = stop.value
                return
            except _GivenUp:
                return
            answer: Any = None
            try:
                if isinstance(asked, Emit):
                    yield asked.value
                elif isinstance(asked, _Begin):
                    answer = perform(asked.calls)
                elif isinstance(asked, _Next):
                    answer = await anext(asked.replies, None)
                else:
                    await asked.replies.aclose()
            except GeneratorExit:
                step = partial(steps.throw, _GivenUp())
            except BaseException as error:  # cancellation, too
                step = partial(steps.throw, error)
            else:
                step = partial(steps.send, answer)


class _GivenUp(BaseException):
    """The stream was closed. No GeneratorExit, after which a generator could not ask for anything more."""


@dataclass(frozen=True)
class _Begin:
    """Make these calls; answered with an iterator of their replies."""

    calls: Iterable[Rpc]


@dataclass(frozen=True)
class _Next:
    """Wait for a reply; answered with it, or None at the end."""

    replies: Any


@dataclass(frozen=True)
class _Close:
    """Give up the calls that are under way."""

    replies: Any


def _steps(operation: Operation[T]) -> Operation[T]:
    """An operation in the four words that a stream knows: `Emit`, `_Begin`, `_Next` and `_Close`."""
    deferred: list[Defer] = []
    try:
        return (yield from _translated(operation, deferred))
    finally:
        while deferred:
            with contextlib.suppress(ClientError):
                yield from _silent(_translated(deferred.pop().begin(), deferred))


def _translated(operation: Operation[T], deferred: list[Defer]) -> Operation[T]:
    begun: dict[Each, Any] = {}
    step = partial(next, operation)
    try:
        while True:
            try:
                asked = step()
            except StopIteration as stop:
                return stop.value
            answer: Any = None
            try:
                if isinstance(asked, Emit):
                    yield asked
                elif isinstance(asked, Defer):
                    deferred.append(asked)
                elif isinstance(asked, Each):
                    if asked not in begun:
                        begun[asked] = yield _Begin(asked.calls)
                    answer = yield _Next(begun[asked])
                else:
                    answer = yield from _together(asked)
            except _GivenUp:
                operation.close()
                raise
            except BaseException as error:
                step = partial(operation.throw, error)
            else:
                step = partial(operation.send, answer)
    finally:
        for replies in begun.values():
            yield _Close(replies)


def _together(calls: Iterable[Rpc]) -> Operation[list[Any]]:
    replies = yield _Begin(calls)
    answers: dict[int, Any] = {}
    try:
        while (reply := (yield _Next(replies))) is not None:
            answers[reply.place] = reply.result()
    finally:
        yield _Close(replies)
    return [answers[place] for place in range(len(answers))]


def _silent(operation: Operation[T]) -> Operation[T]:
    """An operation whose streamed values nobody waits for any more."""
    step = partial(next, operation)
    while True:
        try:
            asked = step()
        except StopIteration as stop:
            return stop.value
        answer: Any = None
        if not isinstance(asked, Emit):
            try:
                answer = yield asked
            except BaseException as error:
                step = partial(operation.throw, error)
                continue
        step = partial(operation.send, answer)
