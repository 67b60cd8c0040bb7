"""Asks a server from one process, in two ways, and says what came of it.

Closed loop: so many callers, and each asks again when it has its answer. This finds the throughput at saturation.
Open loop: each request is due at a time that was fixed before, whatever the server does, and its latency counts from
that time. A server that stalls is charged for all who would have come meanwhile, also where this process sends late.

One process with one event loop: `cpu_share` says how much of a core it took itself. Near 1, it was the limit.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

Ask = Callable[[], Awaitable[bytes]]

KEPT = 16  # answers that are kept of each measurement, to be looked at after it
LEAD_S = 0.01  # before the first request is due


@dataclass(frozen=True)
class Closed:
    """What callers got who ask again and again."""

    answers: int
    seconds: float
    cpu_share: float  # of one core, taken by this process
    kept: list[bytes]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


@dataclass(frozen=True)
class Opened:
    """What requests got that were due at fixed times."""

    latencies_s: np.ndarray  # from the time a request was due, FP64 [requests]
    lateness_s: np.ndarray  # from the time it was due until it was sent, likewise
    cpu_share: float
    kept: list[bytes]


def make_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes up on time: with select, since epoll counts in whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def closed(ask: Ask, concurrency: int, seconds: float) -> Closed:
    """Ask with so many callers at once for so long; all answers count, and all the time until the last one.

    Raises:
        Exception: the first that ``ask`` raised, when all callers have ended.
    """
    kept: deque[bytes] = deque(maxlen=KEPT)
    answers = 0
    begun, cpu = time.perf_counter(), time.process_time()
    end = begun + seconds

    async def caller() -> None:
        nonlocal answers
        while time.perf_counter() < end:
            kept.append(await ask())
            answers += 1

    await _all([asyncio.ensure_future(caller()) for _ in range(concurrency)])
    passed = time.perf_counter() - begun
    return Closed(answers, passed, (time.process_time() - cpu) / passed, list(kept))


async def opened(ask: Ask, due_s: np.ndarray) -> Opened:
    """Ask at fixed times, whatever is still unanswered.

    Args:
        ask: a request; it has to end by itself, with an error if there is no answer.
        due_s: when each request is due, in seconds from the start, ascending, FP64 [requests].

    Raises:
        Exception: the first that ``ask`` raised, when all requests have ended.
    """
    kept: deque[bytes] = deque(maxlen=KEPT)
    latencies, lateness = np.zeros(len(due_s)), np.zeros(len(due_s))
    cpu = time.process_time()
    start = time.perf_counter() + LEAD_S

    async def request(place: int) -> None:
        lateness[place] = time.perf_counter() - start - due_s[place]
        kept.append(await ask())
        latencies[place] = time.perf_counter() - start - due_s[place]

    tasks = []
    for place, due in enumerate(due_s):
        await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(request(place)))
    await _all(tasks)
    passed = time.perf_counter() - start
    return Opened(latencies, lateness, (time.process_time() - cpu) / passed, list(kept))


def arrivals(rate: float, seconds: float, seed: int) -> np.ndarray:
    """When independent users come: a Poisson process, given how many come in all.

    Args:
        rate: requests per second; ``rate * seconds``, rounded, is how many there are, at least one.
        seconds: how long they come.
        seed: of the generator; the same gives the same times.

    Returns:
        Ascending times in [0, seconds), FP64 [requests].
    """
    return np.sort(np.random.default_rng(seed).uniform(0, seconds, max(1, round(rate * seconds))))


async def _all(tasks: list[asyncio.Future[None]]) -> None:
    results = await asyncio.gather(*tasks, return_exceptions=True)  # all end before an error goes on
    for result in results:
        if isinstance(result, BaseException):
            raise result
