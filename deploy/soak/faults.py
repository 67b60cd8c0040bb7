"""What goes wrong while requests are answered: a model's process dies, the server dies, a new version appears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from soak.findings import Finding
from soak.memory import model_processes
from soak.questions import Question, answered
from soak.repository import doubled, publish
from soak.traffic import Traffic

from neurips16.clients import Retry
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.connection import MODEL_MAY_RETURN
from neurips16.export.spec import read_spec
from neurips16.serving import TritonServer
from neurips16.serving.repository import MODEL_FILE, newest_model
from neurips16.serving.triton.installation import find_ops_library

BEFORE, AFTER = 50, 10  # right answers, of all models, before the fault; of those concerned, after it
LAST_S = 300.0  # a client that does not give up has an answer within this time
PATIENT = Retry(attempts=1000, longest_s=1.0)
PATIENT_WITH_MODELS = Retry(attempts=1000, longest_s=1.0, codes=MODEL_MAY_RETURN)


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


async def kill_model(server: TritonServer, questions: Sequence[Question], model: str, concurrency: int = 16) -> Finding:
    """Kill a process of a model: others answer on, its own requests fail with codes that allow another try.

    Then once more, with clients that do try again: they lose nothing.
    """
    finding = Finding(f"the process of `{model}` killed")
    traffic = Traffic(server.url, questions, concurrency=concurrency)
    finding.figures["back_s"] = await _kill_in(traffic, server, model, finding)
    errors = traffic.errors()
    finding.figures["failed"] = {code: count for (_, code), count in errors.items()}
    # What waits for a dead process is refused one batch after the other, each after a second.
    waits = [moment.ended_s - moment.sent_s for moment in traffic.moments if moment.code]
    finding.figures["refused_within_s"] = round(max(waits, default=0.0), 2)
    finding.figures["answered"] = sum(moment.answer >= 0 for moment in traffic.moments)
    allowed = {(model, code.name) for code in MODEL_MAY_RETURN}
    if any(question.later for question in questions if question.model == model):
        allowed.add((model, "INVALID_ARGUMENT"))  # a step of a sequence whose state went with the process
    finding.expect(set(errors) <= allowed, f"errors beyond those that may be tried again: {dict(errors)}")
    finding.note(traffic.wrong)

    stubborn = Traffic(
        server.url, questions, concurrency=concurrency, retry=PATIENT_WITH_MODELS, timeout_s=LAST_S, seed=1
    )
    finding.figures["back_with_retries_s"] = await _kill_in(stubborn, server, model, finding)
    finding.figures["lost_with_retries"] = sum(stubborn.errors().values())
    finding.expect(not stubborn.errors(), f"lost in spite of retries: {dict(stubborn.errors())}")
    finding.note(stubborn.wrong)
    return finding


async def _kill_in(traffic: Traffic, server: TritonServer, model: str, finding: Finding) -> float:
    """Kill a process of the model in the flow; seconds to the first answer of the model to a request sent after."""
    before = server.restorations
    async with flowing(traffic):
        while not traffic.flying[model]:
            await asyncio.sleep(0.001)
        victim = next(process for process, name in model_processes(server).items() if name == model)
        victim.kill()
        killed_s = time.monotonic()
        while server.restorations == before and time.monotonic() - killed_s < LAST_S:
            await asyncio.sleep(0.01)
        # An answer of another instance of the model, or of another version, shows nothing before.
        restored_s = time.monotonic()
        first = await traffic.right(AFTER, model, since_s=killed_s)
    finding.expect(server.restorations == before + 1, "the model was not loaded again")
    return round(max(first.ended_s, restored_s) - killed_s, 2)


async def kill_server(server: TritonServer, questions: Sequence[Question], concurrency: int = 16) -> Finding:
    """Kill the whole server and start it again on its port, as `neurips16 serve` does: retries lose nothing."""
    finding = Finding("the server killed, started again on its port")
    url = server.url
    traffic = Traffic(url, questions, concurrency=concurrency, retry=PATIENT, timeout_s=LAST_S)
    async with flowing(traffic):
        os.kill(server.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        await asyncio.to_thread(_start_again, server)
        first = await traffic.right(AFTER, since_s=killed_s)
    held = [m for m in traffic.moments if m.sent_s < killed_s < m.ended_s]
    finding.figures["first_answer_s"] = round(first.ended_s - killed_s, 2)
    finding.figures["in_flight_when_killed"] = len(held)
    finding.figures["answered"] = sum(moment.answer >= 0 for moment in traffic.moments)
    finding.figures["lost"] = sum(traffic.errors().values())
    finding.expect(server.url == url, f"the server is at {server.url} now, it was at {url}")
    finding.expect(not traffic.errors(), f"lost in spite of retries: {dict(traffic.errors())}")
    finding.note(traffic.wrong)
    return finding


def _start_again(server: TritonServer) -> None:
    while server.failure() is None:
        time.sleep(0.01)
    server.stop()
    server.start()
    server.wait_ready()


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
