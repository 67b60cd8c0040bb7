"""What every peer's program is told, and the sessions that it runs. Imports nothing of ours: each runs elsewhere."""

from __future__ import annotations

import json
import os

import numpy as np
import onnxruntime

SETUP = json.loads(os.environ["PEERS_SETUP"])  # `servers.Setup`, with the choice among the peer's settings
SHAPE, DTYPE = tuple(SETUP["shape"]), np.dtype(SETUP["dtype"])  # of a request's one tensor, the batch axis 1
MAX_BATCH: int = SETUP["max_batch"]
DELAY_S: float = SETUP["delay_s"]  # how long a request may wait for others to share its batch
CHOICE: dict = SETUP["choice"]


def make_session() -> onnxruntime.InferenceSession:
    """The model, on its share of the threads that everybody gets, with the native kernels where they are built."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = SETUP["threads"]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as ours, for the sake of all around it
    if SETUP["op_library"]:
        options.register_custom_ops_library(SETUP["op_library"])
    return onnxruntime.InferenceSession(SETUP["model"], options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, batch: np.ndarray) -> list[np.ndarray]:
    """The outputs, each [N, ...], for a batch of inputs."""
    return session.run(SETUP["outputs"], {SETUP["input"]: batch})


def unpack(body: bytes) -> np.ndarray:
    """A request as the tensor that it is; both sides know its shape, so the bytes are all that travels."""
    return np.frombuffer(body, DTYPE).reshape(SHAPE)


def pack(outputs: list[np.ndarray], row: int = 0) -> bytes:
    """The answer to one request of a batch: its outputs one behind the other."""
    return b"".join(output[row].tobytes() for output in outputs)
