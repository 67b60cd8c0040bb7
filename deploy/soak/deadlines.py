"""A model that takes too long: the client is told in time, and what it gave up is not computed for nobody."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from soak.findings import Finding
from soak.repository import SLOW

from neurips16.clients import AsyncClient, Timeout
from neurips16.clients.protocol.errors import DeadlineExceededError
from neurips16.serving import TritonServer

RUN_S = 1.5  # of the model, about
DEADLINE_S = 0.3
LATE_S = 0.5  # how much later than the deadline the error may be seen
CALIBRATION = 20_000  # steps


async def short_deadlines(server: TritonServer, callers: int = 16) -> Finding:
    """Ask the slow model of several callers at once, each with a deadline far shorter than one run."""
    finding = Finding("a slow model, a short deadline")
    async with AsyncClient(server.url, timeout=Timeout(infer_s=60.0), max_in_flight=1) as client:

        async def count(steps: int, timeout_s: float | None = None) -> float:
            began = time.monotonic()
            answer = await client.infer(SLOW, {"steps": np.array([[steps]])}, timeout_s=timeout_s)
            finding.expect(answer["counted"].tolist() == [[steps]], f"counted {answer['counted']}, not {steps}")
            return time.monotonic() - began

        await count(CALIBRATION)
        steps = int(CALIBRATION * RUN_S / await count(CALIBRATION))
        run_s = await count(steps)

        async def give_up() -> float | None:
            began = time.monotonic()
            try:
                await count(steps, DEADLINE_S)
            except DeadlineExceededError:
                return time.monotonic() - began
            return None

        ended = await asyncio.gather(*(give_up() for _ in range(callers)))
        told = [seconds for seconds in ended if seconds is not None]
        next_s = await count(1)
    finding.figures |= {"run_s": round(run_s, 2), "deadline_s": DEADLINE_S, "callers": callers}
    finding.figures["told_after_s"] = [round(min(told), 3), round(max(told), 3)] if told else []
    finding.figures["next_answer_s"] = round(next_s, 2)
    finding.expect(len(told) == callers, f"{callers - len(told)} of {callers} requests were answered nonetheless")
    finding.expect(
        all(DEADLINE_S * 0.9 <= seconds <= DEADLINE_S + LATE_S for seconds in told),
        f"DEADLINE_EXCEEDED came after {sorted(told)} s, the deadline is {DEADLINE_S} s",
    )
    # One run may be under way, and cannot be stopped. The others were given up while they waited.
    finding.expect(
        next_s < max(2, callers / 4) * run_s,
        f"the next answer took {next_s:.1f} s: given-up requests of {run_s:.1f} s each were computed",
    )
    return finding
