"""The mixed load: every request answered, every answer right, the memory flat."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
import typer
from soak.findings import Finding
from soak.memory import FEWEST, PER, MemoryWatch, Sample, trends
from soak.questions import Question
from soak.traffic import Traffic

from neurips16.serving import TritonServer

FLAT_MB = 2.0  # what a process may grow by, for `PER` requests
TELL_S = 30.0
WARM_ROUNDS = 2


async def mixed_load(
    server: TritonServer,
    questions: Sequence[Question],
    count: int,
    samples: list[Sample],
    concurrency: int = 16,
    seed: int = 0,
) -> Finding:
    """Ask so many questions at once of all models; ``samples`` is filled with the memory meanwhile."""
    finding = Finding(f"{count:,} requests of mixed models and sizes")
    await _warm(server, questions, concurrency, finding)
    traffic = Traffic(server.url, questions, concurrency=concurrency, seed=seed)
    began = time.monotonic()
    with MemoryWatch(server, lambda: len(traffic.moments)) as watch:
        telling = asyncio.create_task(_tell(traffic, count, began))
        await traffic.run(count)
        telling.cancel()
    samples += watch.samples
    seconds = time.monotonic() - began
    latencies_ms = [1e3 * (moment.ended_s - moment.sent_s) for moment in traffic.moments]
    right = Counter(moment.model for moment in traffic.moments if moment.answer >= 0)
    finding.figures["right_by_model"] = dict(sorted(right.items()))
    finding.figures["wrong"] = len(traffic.wrong)
    finding.figures["failed"] = sum(traffic.errors().values())
    finding.figures["concurrency"] = concurrency
    finding.figures["requests_per_second"] = round(count / seconds, 1)
    finding.figures["p50_p99_ms"] = [round(float(np.percentile(latencies_ms, q)), 1) for q in (50, 99)]
    finding.expect(right.total() == count, f"{right.total()} of {count} requests were answered rightly")
    finding.expect(not traffic.errors(), f"requests failed: {dict(traffic.errors())}")
    finding.expect(set(right) == {question.model for question in questions}, f"only {sorted(right)} were asked")
    finding.note(traffic.wrong)
    for name, trend in trends(samples).items():
        finding.expect(
            trend.requests < FEWEST or trend.slope_mb <= FLAT_MB,
            f"the memory of {name} grows by {trend.slope_mb:.1f} MB for {PER:,} requests",
        )
    return finding


async def _warm(server: TritonServer, questions: Sequence[Question], concurrency: int, finding: Finding) -> None:
    """Ask each model's costliest question by all callers at once.

    ONNX Runtime keeps the memory of the largest batch that there was. In the mixed load that batch may come late.
    """
    for model in sorted({question.model for question in questions}):
        largest = max((question for question in questions if question.model == model), key=lambda one: one.cost_s)
        traffic = Traffic(server.url, [largest], concurrency=concurrency)
        await traffic.run(WARM_ROUNDS * concurrency)
        finding.note(traffic.wrong)
        finding.expect(not traffic.errors(), f"requests failed: {dict(traffic.errors())}")


async def _tell(traffic: Traffic, count: int, began: float) -> None:
    while True:
        await asyncio.sleep(TELL_S)
        done, seconds = len(traffic.moments), time.monotonic() - began
        typer.echo(f"{done:,} of {count:,}; {done / seconds:.0f} a second")
