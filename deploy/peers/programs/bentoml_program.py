"""The model behind BentoML: raw bytes in and out, in one service; or batched, in a service of its own behind it.

BentoML batches lists and arrays, and takes these from outside as JSON only. In binary form they travel from one
service to another, so who wants both gives the model a service of its own, as its guide to composition has it.
"""

from __future__ import annotations

import bentoml
import numpy as np
from shared import CHOICE, MAX_BATCH, make_session, pack, run, unpack

QUIET = {"logging": {"access": {"enabled": False}}, "metrics": {"enabled": False}}

if CHOICE["composed"]:

    @bentoml.service(name="model", workers=1, **QUIET)
    class Model:
        """The session, behind adaptive batching."""

        def __init__(self) -> None:
            self.session = make_session()

        @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=60_000)
        def infer(self, batch: np.ndarray) -> list[bytes]:
            """The answer of each row."""
            outputs = run(self.session, batch)
            return [pack(outputs, row) for row in range(len(batch))]

    @bentoml.service(name="peer", workers=1, **QUIET)
    class Peer:
        """What clients see."""

        model = bentoml.depends(Model)

        @bentoml.api
        async def infer(self, body: bytes, /) -> bytes:
            """One request."""
            (answer,) = await self.model.to_async.infer(unpack(body))
            return answer

else:

    @bentoml.service(name="peer", workers=1, threads=1, **QUIET)
    class Peer:
        """All in one."""

        def __init__(self) -> None:
            self.session = make_session()

        @bentoml.api
        def infer(self, body: bytes, /) -> bytes:
            """One request."""
            return pack(run(self.session, unpack(body)))
