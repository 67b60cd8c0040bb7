"""The generators over gRPC, beside ONNX Runtime in process on the same threads.

    python deploy/bench/generation_serving.py [--seconds 5] [--steps 200]

InfoGAN: pictures per second in requests of ten. DGN-AM: seconds for one ascent, and for ten clients at the same time,
whose requests differ in unit and seed and share batches on the server. Every answer of InfoGAN is held against the
in-process one.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime as ort
import typer

from neurips16.clients import Client
from neurips16.clients.tables import print_table
from neurips16.serving import TritonServer

MODELS = Path(__file__).parents[2] / "serving/models"
PICTURES = 10
CLIENTS = 10


def main(
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 5.0,
    steps: Annotated[int, typer.Option(help="Of an ascent.")] = 200,
) -> None:
    """Print both tables."""
    session = ort.InferenceSession(
        max((MODELS / "infogan").glob("*/model.onnx")), providers=["CPUExecutionProvider"]
    )  # as the backend's: one thread for each core
    with (
        TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server,
        Client(server.url) as client,
    ):
        rows = {
            "category": np.arange(PICTURES)[:, None] % 10,
            "continuous": np.zeros((PICTURES, client.model_config("infogan").inputs[1].dims[0]), np.float32),
            "seed": np.arange(PICTURES)[:, None],
        }
        want = session.run(None, rows)[0]

        def served() -> None:
            assert np.abs(client.infer("infogan", rows)["image"].astype(int) - want).max() <= 1

        served()
        over_grpc, in_process = rate(served, seconds), rate(lambda: session.run(None, rows), seconds)
        print_table(
            {"infogan": "left", "pictures/s": "right"},
            [("gRPC", f"{over_grpc * PICTURES:.0f}"), ("in process", f"{in_process * PICTURES:.0f}")],
        )
        alone = timed(lambda: client.preferred_input(0, steps=steps))
        with ThreadPoolExecutor(CLIENTS) as pool:
            together = timed(
                lambda: list(pool.map(lambda k: client.preferred_input(k, steps=steps, seed=k), range(CLIENTS)))
            )
    print_table(
        {f"dgn_am, {steps} steps": "left", "seconds": "right"},
        [("one ascent", f"{alone:.2f}"), (f"{CLIENTS} clients at the same time", f"{together:.2f}")],
    )


def rate(call, seconds: float) -> float:
    """Calls per second, one after the other."""
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - started)


def timed(call) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
