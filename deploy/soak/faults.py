"""What goes wrong while requests are answered: the server dies, a model ends it, a new version appears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
from soak.findings import Finding
from soak.questions import Question, answered
from soak.repository import doubled, publish
from soak.traffic import Traffic

from neurips16.clients import AsyncClient, Retry
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.connection import MODEL_MAY_RETURN
from neurips16.clients.protocol.errors import ClientError
from neurips16.export.spec import read_spec
from neurips16.serving import TritonServer
from neurips16.serving.repository import MODEL_FILE, newest_model
from neurips16.serving.triton.installation import find_ops_library

BEFORE, AFTER = 50, 10  # right answers, of all models, before the fault; of those concerned, after it
LAST_S = 300.0  # a client that does not give up has an answer within this time
CRASHES = 3  # after which a model is left out
PATIENT = Retry(attempts=1000, max_s=1.0)
PATIENT_WITH_MODELS = Retry(attempts=1000, max_s=1.0, codes=MODEL_MAY_RETURN)


@contextlib.asynccontextmanager
async def flowing(traffic: Traffic) -> AsyncIterator[None]:
    """Let requests flow inside, some answered before; all are answered or refused afterwards."""
    task = asyncio.create_task(traffic.run())
    try:
        await traffic.right(BEFORE)
        yield
    finally:
        traffic.stop()
        await task


async def kill_server(server: TritonServer, questions: Sequence[Question], concurrency: int = 16) -> Finding:
    """Kill the whole server, which is started again on its port with what it had loaded: retries lose nothing."""
    finding = Finding("the server killed, started again on its port")
    url = server.url
    traffic = Traffic(url, questions, concurrency=concurrency, retry=PATIENT, timeout_s=LAST_S)
    async with flowing(traffic):
        models, before = server.models, server.restarts
        os.kill(server.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        await asyncio.to_thread(_await_restart, server, before)
        first = await traffic.right(AFTER, since_s=killed_s)
    held = [m for m in traffic.moments if m.sent_s < killed_s < m.ended_s]
    finding.figures["first_answer_s"] = round(first.ended_s - killed_s, 2)
    finding.figures["in_flight_when_killed"] = len(held)
    finding.figures["answered"] = sum(moment.answer >= 0 for moment in traffic.moments)
    lost = _lost(traffic, questions)
    finding.figures["lost"] = sum(lost.values())
    finding.expect(server.models == models, f"{models - server.models} are not served again")
    finding.expect(server.url == url, f"the server is at {server.url} now, it was at {url}")
    finding.expect(not lost, f"lost in spite of retries: {lost}")
    finding.note(traffic.wrong)
    return finding


def _lost(traffic: Traffic, questions: Sequence[Question]) -> dict[tuple[str, str], int]:
    """The errors that should not be. A sequence's state ends with its server, and its later steps are not repeated."""
    stateful = {question.model for question in questions if question.later}
    return {(model, code): count for (model, code), count in traffic.errors().items() if model not in stateful}


def _await_restart(server: TritonServer, before: int) -> None:
    deadline = time.monotonic() + LAST_S
    while server.restarts == before and time.monotonic() < deadline:
        time.sleep(0.01)


async def crash_server(
    server: TritonServer, questions: Sequence[Question], crashing: str, concurrency: int = 16
) -> Finding:
    """Have a model end the server, three times: it is left out then, and clients that try again lose nothing."""
    finding = Finding(f"the server ended by `{crashing}`, until that is left out")
    traffic = Traffic(server.url, questions, concurrency=concurrency, retry=PATIENT_WITH_MODELS, timeout_s=LAST_S)
    back_s, codes = [], Counter()
    async with flowing(traffic):
        for _ in range(CRASHES):
            before, began_s = server.restarts, time.monotonic()
            try:
                async with AsyncClient(server.url, retry=Retry(attempts=1)) as client:
                    await client.infer(crashing, {"x": np.float32([[-1]])})
            except ClientError as error:
                codes[type(error).__name__] += 1
            await asyncio.to_thread(_await_restart, server, before)
            await traffic.right(AFTER, since_s=time.monotonic())
            back_s.append(round(time.monotonic() - began_s, 2))
    finding.figures["back_s"] = back_s
    finding.figures["crashing_requests"] = dict(codes)
    finding.figures["answered"] = sum(moment.answer >= 0 for moment in traffic.moments)
    lost = _lost(traffic, questions)
    finding.figures["lost_with_retries"] = sum(lost.values())
    finding.expect(set(server.quarantined) == {crashing}, f"left out are {sorted(server.quarantined)}")
    finding.expect(server.restarts >= CRASHES, f"{server.restarts} new starts")
    finding.expect(not lost, f"lost in spite of retries: {lost}")
    finding.note(traffic.wrong)
    return finding


async def publish_version(
    server: TritonServer, questions: Sequence[Question], model: str, folder: Path, concurrency: int = 16
) -> Finding:
    """Publish a version 2 that gives twice the numbers: no request fails, each answer is of one version whole.

    Args:
        server: follows its repository (``model_control="poll"``).
        questions: to ``model``.
        model: has version 1.
        folder: for the new version, before it is published.
        concurrency: of the requests.
    """
    finding = Finding(f"a version 2 of `{model}` published")
    (repository,) = server.repositories
    old = newest_model(repository / model)
    assert old is not None
    new = doubled(old, folder / model / "2" / MODEL_FILE)
    local = LocalClient(folder, op_library=find_ops_library())
    both = []
    for question in questions:
        (answer,) = answered(local, model, [question.inputs], read_spec(new)).answers
        both.append(Question(model, question.inputs, question.outputs, (*question.answers, answer), question.cost_s))
    traffic = Traffic(server.url, both, concurrency=concurrency)
    async with flowing(traffic):
        publish(repository, model, new, 2)
        published_s = time.monotonic()
        while not any(moment.answer == 1 for moment in traffic.moments):
            await traffic.right(1, since_s=time.monotonic())
        await traffic.right(AFTER, since_s=time.monotonic())
    versions = Counter(moment.answer + 1 for moment in traffic.moments if moment.answer >= 0)
    first_new = min(moment.ended_s for moment in traffic.moments if moment.answer == 1)
    late = [moment for moment in traffic.moments if moment.answer == 0 and moment.sent_s > first_new]
    finding.figures["first_answer_of_version_2_s"] = round(first_new - published_s, 2)
    finding.figures["answers_by_version"] = dict(sorted(versions.items()))
    finding.figures["failed"] = sum(traffic.errors().values())
    finding.figures["mixed"] = len(traffic.wrong)
    finding.expect(not traffic.errors(), f"requests failed: {dict(traffic.errors())}")
    finding.expect(not late, f"{len(late)} requests sent after the first answer of version 2 were given version 1's")
    finding.note(traffic.wrong)
    return finding
