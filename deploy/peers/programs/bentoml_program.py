"""The model behind BentoML: raw bytes in and out, in one service; or batched, in a service of its own behind it.

BentoML batches lists and arrays, and takes these from outside as JSON only. In binary form they travel from one
service to another, so who wants both gives the model a service of its own, as its guide to composition has it.
"""

from __future__ import annotations

import aiohttp
import bentoml
import numpy as np
from _bentoml_impl.client.proxy2 import SessionManager
from shared import MAX_BATCH, SETUP, make_session, pack, run, unpack

QUIET = {"logging": {"access": {"enabled": False}}, "metrics": {"enabled": False}}

if MAX_BATCH > 1:
    # BentoML 1.4.39 closes the connections between two services after a hundred requests, and those that are under way
    # with them: with 16 at once some of every hundred fail. Here they stay open.
    SessionManager._should_refresh = lambda _: False

    @bentoml.service(name="model", workers=SETUP["sessions"], **QUIET)
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
            """One request; once more where the connection was closed for having been idle."""
            batch = unpack(body)
            try:
                (answer,) = await self.model.to_async.infer(batch)
            except aiohttp.ServerDisconnectedError:
                (answer,) = await self.model.to_async.infer(batch)
            return answer

else:

    @bentoml.service(name="peer", workers=SETUP["sessions"], threads=1, **QUIET)
    class Peer:
        """All in one."""

        def __init__(self) -> None:
            self.session = make_session()

        @bentoml.api
        def infer(self, body: bytes, /) -> bytes:
            """One request."""
            return pack(run(self.session, unpack(body)))
