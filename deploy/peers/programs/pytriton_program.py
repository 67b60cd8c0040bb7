"""The model behind PyTriton's own binding: functions in this process, which Triton's Python backend calls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from shared import DELAY_S, DTYPE, MAX_BATCH, SETUP, SHAPE, make_session, run

TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}

sessions = [make_session() for _ in range(SETUP["sessions"])]


def inference(session: onnxruntime.InferenceSession) -> Callable[..., dict[str, np.ndarray]]:
    """What one instance calls."""

    @batch
    def infer(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        """All requests that Triton hands over at once, as one batch."""
        return dict(zip(SETUP["outputs"], run(session, inputs[SETUP["input"]]), strict=True))

    return infer


outputs = {
    node.name: Tensor(
        name=node.name, dtype=TYPES[node.type], shape=tuple(d if isinstance(d, int) else -1 for d in node.shape[1:])
    )
    for node in sessions[0].get_outputs()
}
addresses = dict.fromkeys(("grpc_address", "http_address", "metrics_address"), "127.0.0.1")
ports = dict(zip(("grpc_port", "http_port", "metrics_port"), SETUP["ports"], strict=True))
with Triton(config=TritonConfig(**addresses, **ports)) as triton:
    triton.bind(
        model_name=SETUP["name"],
        infer_func=[inference(session) for session in sessions],
        inputs=[Tensor(name=SETUP["input"], dtype=DTYPE.type, shape=SHAPE[1:])],
        outputs=[outputs[name] for name in SETUP["outputs"]],
        # A batch of one is what turns batching off: without a batch axis the model would not be the same.
        config=ModelConfig(
            max_batch_size=MAX_BATCH,
            batcher=DynamicBatcher(max_queue_delay_microseconds=round(1e6 * DELAY_S)),
        ),
        strict=False,
    )
    triton.serve()
