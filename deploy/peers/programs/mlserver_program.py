"""The model behind MLServer: V2 over gRPC, each tensor as one element of BYTES.

MLServer turns the raw contents of a typed tensor into a Python list, number by number, and an image has a million of
them. An element of BYTES it hands on as it is.
"""

from __future__ import annotations

import asyncio

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlserver.utils import install_uvloop_event_loop
from shared import CHOICE, DELAY_S, MAX_BATCH, SETUP, make_session, pack, run, unpack


class Model(MLModel):
    """The session; requests come merged where batching is on."""

    async def load(self) -> bool:
        """Called in the worker where there is one."""
        self.session = make_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The answer of each element."""
        bodies = payload.inputs[0].data.root
        outputs = run(self.session, np.concatenate([unpack(body) for body in bodies]))
        answers = [pack(outputs, row) for row in range(len(bodies))]
        output = ResponseOutput(name="answer", shape=[len(answers), 1], datatype="BYTES", data=answers)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def serve() -> None:
    """Serve until it is ended. MLServer's parts want a running event loop when they are made."""
    grpc, http, metrics = SETUP["ports"]
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        grpc_port=grpc,
        http_port=http,
        metrics_endpoint=None,
        metrics_port=metrics,
        grpc_max_message_length=2**26,
        parallel_workers=CHOICE["parallel_workers"],
    )
    batching = {"max_batch_size": MAX_BATCH, "max_batch_time": DELAY_S} if MAX_BATCH > 1 else {}
    model = ModelSettings(name=SETUP["name"], implementation="mlserver_program.Model", **batching)
    await MLServer(settings).start([model])


if __name__ == "__main__":
    install_uvloop_event_loop()  # as `mlserver start` does
    asyncio.run(serve())
