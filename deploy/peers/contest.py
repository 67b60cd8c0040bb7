"""One model behind all servers: who is let in, in which setting, and what is measured of each."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from load_generator import arrivals, closed, opened
from protocols import ASK_ERRORS, Client, InProcess
from results import LIMIT
from servers import Peer, PeerError, Server
from subjects import Subject

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from throughput import rate as thread_rate

CONCURRENCIES = (1, 4, 16)
READY_S = 120.0
LOOK_S = 0.2
WARM_S = 0.3


@dataclass
class Contender:
    """Somebody who is timed."""

    client: Client
    server: Server | None  # None for the limit
    record: dict[str, Any]
    rates: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CONCURRENCIES})

    @property
    def best(self) -> float:
        """Its throughput at saturation: the largest median."""
        return max(float(np.median(rates)) for rates in self.rates.values())


class Contest:
    """A run with one model.

    Args:
        subject: the model.
        loop: the load generator's.
        order: draws the order of each round.
        say: told what goes on.
    """

    def __init__(
        self, subject: Subject, loop: asyncio.AbstractEventLoop, order: random.Random, say: Callable[[str], object]
    ):
        self._subject, self._loop, self._order, self._say = subject, loop, order, say
        self._contenders: dict[str, Contender] = {}
        self._left_out: dict[str, str] = {}

    def run(
        self, pythons: Mapping[Peer, Path], seconds: float, rounds: int, share: float, requests: int
    ) -> dict[str, Any]:
        """Measure; what results.json has of a model.

        Args:
            pythons: the peers, and the Python that runs each.
            seconds: of each measurement.
            rounds: how often each is measured.
            share: of the slowest server's throughput, the rate for the latencies.
            requests: at least so many in each measurement of latencies.
        """
        try:
            self._contenders[LIMIT] = Contender(InProcess(self._subject), None, {"setting": "batched or not"})
            for peer, python in pythons.items():
                self._guarded(peer.name, lambda p=peer, py=python: self._admit(p, py, min(seconds, 2.0)))
            for number in range(rounds):
                turns = [(name, c) for name in self._contenders for c in CONCURRENCIES]
                for name, concurrency in self._shuffled(turns):
                    self._guarded(name, lambda n=name, c=concurrency: self._saturate(n, c, seconds))
                self._say(f"{self._subject.title}: throughput, round {number + 1} of {rounds}")
            servers = [c.best for c in self._contenders.values() if c.server is not None]
            rate = share * min(servers) if servers else 0.0
            for number in range(rounds if servers else 0):
                due = arrivals(rate, max(seconds, requests / rate), seed=number)
                for name in self._shuffled(list(self._contenders)):
                    self._guarded(name, lambda n=name, d=due: self._latencies(n, d))
                self._say(f"{self._subject.title}: latencies at {rate:.1f}/s, round {number + 1} of {rounds}")
        finally:
            for contender in self._contenders.values():
                self._dismiss(contender)
        records = {
            name: {**c.record, "rates": {str(n): rates for n, rates in c.rates.items()}}
            for name, c in self._contenders.items()
        }
        return {"title": self._subject.title, "rate": rate, "servers": records, "left_out": self._left_out}

    def _shuffled(self, turns: list) -> list:
        return self._order.sample(turns, len(turns))

    def _guarded(self, name: str, measure: Callable[[], None]) -> None:
        """Measure; somebody who fails is out from then on, with the reason."""
        if name in self._left_out:
            return
        try:
            with self._turn(name):
                measure()
        except (PeerError, *ASK_ERRORS) as error:
            self._left_out[name] = str(error) or type(error).__name__
            self._say(f"{self._subject.title}: {name} is left out: {self._left_out[name]}")
            if name in self._contenders:
                self._dismiss(self._contenders.pop(name))

    @contextlib.contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Who does not rest when idle is awake only in its own turn."""
        server = self._contenders[name].server if name in self._contenders else None
        if server is None:
            yield
            return
        server.resume()
        try:
            yield
        finally:
            server.suspend()

    def _dismiss(self, contender: Contender) -> None:
        self._loop.run_until_complete(contender.client.close())
        if contender.server is not None:
            contender.server.stop()

    def _admit(self, peer: Peer, python: Path, seconds: float) -> None:
        """Try a peer's settings, and keep it running in the best."""
        tried: dict[str, float | str] = {}
        best: tuple[float, Contender] | None = None
        for setting in peer.settings:
            server = Server(peer, setting, self._subject, python)
            contender = Contender(self._made(server), server, {"setting": setting.label, "tried": tried})
            server.start()
            try:
                self._loop.run_until_complete(self._ready(contender))
                rate = self._loop.run_until_complete(closed(contender.client.ask, max(CONCURRENCIES), seconds)).rate
            except (PeerError, *ASK_ERRORS) as error:
                tried[setting.label] = str(error)
                self._dismiss(contender)
                continue
            except BaseException:
                self._dismiss(contender)
                raise
            tried[setting.label] = rate
            self._say(f"{self._subject.title}: {peer.name}, {setting.label}: {rate:.1f}/s")
            if best is None or rate > best[0]:
                best, contender = (rate, contender), best[1] if best else None
            if contender is not None:
                self._dismiss(contender)
        if best is None:
            raise PeerError("; ".join(f"{label}: {reason}" for label, reason in tried.items()))
        best[1].server.suspend()
        self._contenders[peer.name] = best[1]

    def _made(self, server: Server) -> Client:
        async def make() -> Client:
            return server.client(self._subject)

        return self._loop.run_until_complete(make())

    async def _ready(self, contender: Contender) -> None:
        """Wait for the first answer, and look at it."""
        server, end = contender.server, time.monotonic() + READY_S
        while True:
            try:
                answer = await contender.client.ask()
                break
            except ASK_ERRORS as error:
                if server.ended():
                    raise PeerError(f"it ended before it was ready: {server.last_words()}") from error
                if time.monotonic() > end:
                    raise PeerError(f"no answer after {READY_S:g} s: {error}; {server.last_words()}") from error
            await asyncio.sleep(LOOK_S)
        self._look_at(contender, [answer])

    def _look_at(self, contender: Contender, answers: list[bytes]) -> None:
        """Hold answers against the reference.

        Raises:
            PeerError: one is wrong.
        """
        for answer in answers:
            try:
                problems = self._subject.problems(contender.client.read(answer))
            except (KeyError, ValueError) as error:  # other outputs, other lengths
                problems = [str(error)]
            if problems:
                raise PeerError(f"it answers wrongly: {'; '.join(problems)}")

    def _saturate(self, name: str, concurrency: int, seconds: float) -> None:
        contender = self._contenders[name]
        if contender.server is None:
            contender.rates[concurrency].append(limit(self._subject, concurrency, seconds))
            return
        self._loop.run_until_complete(closed(contender.client.ask, concurrency, WARM_S))
        idle = self._others(contender)
        found = self._loop.run_until_complete(closed(contender.client.ask, concurrency, seconds))
        self._look_at(contender, found.kept)
        contender.rates[concurrency].append(found.rate)
        self._note(contender, "generator_cpu_closed", found.cpu_share)
        self._note(contender, "others_cpu", (self._others(contender) - idle) / found.seconds)

    def _latencies(self, name: str, due: np.ndarray) -> None:
        contender = self._contenders[name]
        found = self._loop.run_until_complete(opened(contender.client.ask, due))
        self._look_at(contender, found.kept)
        for percent in (50, 99):
            self._note(contender, f"p{percent}_ms", 1e3 * float(np.percentile(found.latencies_s, percent)))
        self._note(contender, "sent_late_p99_ms", 1e3 * float(np.percentile(found.lateness_s, 99)))
        self._note(contender, "generator_cpu_open", found.cpu_share)

    def _others(self, contender: Contender) -> float:
        """The time of all cores that the other servers have used so far; it should stand still."""
        return sum(c.server.cpu_seconds() for c in self._contenders.values() if c.server and c is not contender)

    @staticmethod
    def _note(contender: Contender, what: str, value: float) -> None:
        contender.record.setdefault(what, []).append(value)


def limit(subject: Subject, concurrency: int, seconds: float) -> float:
    """What ONNX Runtime does in this process: so many threads that call it, or a batch of as many, whichever is more.

    Args:
        subject: the model.
        concurrency: requests at once.
        seconds: for both ways together.

    Returns:
        Answers per second.
    """

    def alone() -> None:
        subject.session.run(subject.output_names, {subject.input_name: subject.array})

    size = min(concurrency, max(1, subject.spec.max_batch_size))
    batch = np.concatenate([subject.array] * size)

    def together() -> float:
        subject.session.run(subject.output_names, {subject.input_name: batch})
        return float(size)

    return max(thread_rate(alone, concurrency, seconds / 2), thread_rate(together, 1, seconds / 2))
