"""Requests that keep coming: each question once, then drawn; sent by our own client, each answer checked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from soak.questions import Question, weights

from neurips16.clients import AsyncClient, Retry, Timeout
from neurips16.clients.protocol.errors import RequestError, UnexpectedReplyError

ONCE = Retry(attempts=1)
PAUSE_S = 0.02  # after an error: a server that is gone refuses thousands a second
LOOK_S = 0.01
PATIENCE_S = 300.0


class StalledError(AssertionError):
    """The answers that were waited for did not come."""


class Moment(NamedTuple):
    """One request, when it is over; times are of time.monotonic."""

    sent_s: float
    ended_s: float
    model: str
    answer: int  # which of the right ones, -1 for none
    code: str  # of the error; empty where there was an answer


class Traffic:
    """So many callers, each with one request under way, from `run` to `stop`.

    Args:
        url: of the server.
        questions: what is asked.
        concurrency: how many callers.
        retry: of the client; by default nothing is tried again, so that every error is seen.
        timeout_s: of a request, with all its attempts.
        seed: of the draw.
    """

    def __init__(
        self,
        url: str,
        questions: Sequence[Question],
        *,
        concurrency: int = 16,
        retry: Retry = ONCE,
        timeout_s: float = 300.0,
        seed: int = 0,
    ):
        self._url = url
        self._questions = questions
        self._weights = weights(questions)
        self._concurrency = concurrency
        self._retry = retry
        self._timeout = Timeout(infer_s=timeout_s)
        self._rng = np.random.default_rng(seed)
        self._first = self._rng.permutation(len(questions)).tolist()  # a draw alone may leave a costly one out
        self._stopped = False
        self.asked = 0
        self.flying: Counter[str] = Counter()  # requests under way, by model
        self.moments: list[Moment] = []
        self.wrong: list[str] = []

    async def run(self, count: int | None = None) -> None:
        """Ask so many questions, or until `stop`; what was sent is waited for."""
        async with AsyncClient(self._url, retry=self._retry, timeout=self._timeout, max_in_flight=1) as client:
            await asyncio.gather(*(self._call(client, count) for _ in range(self._concurrency)))

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True

    async def right(self, count: int, model: str | None = None, *, since_s: float = 0.0) -> Moment:
        """Wait for so many right answers, of one model or all, to requests that were sent after ``since_s``.

        Returns:
            The first of them.

        Raises:
            StalledError: they did not come in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        found: list[Moment] = []
        seen = 0
        while len(found) < count:
            if time.monotonic() > deadline:
                raise StalledError(f"{len(found)} right answers of {model or 'all models'} in {PATIENCE_S:g} s")
            await asyncio.sleep(LOOK_S)
            new, seen = self.moments[seen:], len(self.moments)
            found += [m for m in new if m.answer >= 0 and m.sent_s >= since_s and model in (None, m.model)]
        return found[0]

    def errors(self) -> Counter[tuple[str, str]]:
        """How often each model gave each code."""
        return Counter((moment.model, moment.code) for moment in self.moments if moment.code)

    async def _call(self, client: AsyncClient, count: int | None) -> None:
        while not self._stopped and (count is None or self.asked < count):
            self.asked += 1
            place = self._first.pop() if self._first else self._rng.choice(len(self._questions), p=self._weights)
            question = self._questions[place]
            sent_s, answer, code = time.monotonic(), -1, ""
            self.flying[question.model] += 1
            try:
                answer, problem = await self._ask(client, question)
            except RequestError as error:
                code = error.code.name
            except UnexpectedReplyError as error:
                self.wrong.append(f"{question.model}: {error}")
            else:
                if problem:
                    self.wrong.append(problem)
            self.flying[question.model] -= 1
            self.moments.append(Moment(sent_s, time.monotonic(), question.model, answer, code))
            if code:
                await asyncio.sleep(PAUSE_S)

    async def _ask(self, client: AsyncClient, question: Question) -> tuple[int, str]:
        """Which of the right answers came, and what is wrong where it is none; of a sequence, in any of its steps."""
        while True:
            answer, problem, step = -1, "", 0
            try:
                for step, (inputs, sequence) in enumerate(question.steps):
                    got = await client.infer(question.model, inputs, sequence=sequence)
                    if step == 0:
                        answer, problem = question.match(got)
                    else:
                        problem = problem or question.match_later(step, got)
                return (-1 if problem else answer), problem
            except RequestError:
                # A server that died has lost its sequences: whoever does not give up begins again.
                if step == 0 or self._retry.attempts == 1:
                    raise
