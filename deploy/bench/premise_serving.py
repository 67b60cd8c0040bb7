"""Throughput of the premise encoder over gRPC, beside ONNX Runtime in process on the same threads.

    python deploy/bench/premise_serving.py [--seconds 5] [--batch 16] [--length 512]

Both run the same batches of the same statements; the ratio is what a server costs. The two are measured in turns, so
that a machine whose speed drifts slows both. Every answer is held against the in-process one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime as ort
import typer
from throughput import rate

from neurips16.clients import Client
from neurips16.clients.tables import print_table
from neurips16.clients.tasks.rank_premises.words import word_hashes
from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "serving/models"
MODEL = "premise_encoder"
CONCURRENCIES = (1, 2, 4, 8, 16)


def main(
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 5.0,
    batch: Annotated[int, typer.Option(help="Statements in a request.")] = 16,
    length: Annotated[int, typer.Option(help="Words of a padded statement.")] = 64,
) -> None:
    """Print requests and statements per second at each concurrency."""
    words = statements(batch, length)
    session = ort.InferenceSession(
        max((MODELS / MODEL).glob("*/model.onnx")), providers=["CPUExecutionProvider"]
    )  # as the backend's: one thread for each core
    want = session.run(None, {"words": words})[0]
    rows = []
    with (
        TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server,
        Client(server.url) as client,
    ):

        def served() -> None:
            np.testing.assert_allclose(
                client.infer(MODEL, {"words": words})["premise_embedding"], want, rtol=1e-4, atol=1e-5
            )

        def in_process() -> None:
            session.run(None, {"words": words})

        rate(served, 1, 1.0)  # the first requests pay for threads and memory
        for concurrency in CONCURRENCIES:
            limit = rate(in_process, 1, seconds)
            grpc = rate(served, concurrency, seconds)
            rows.append((str(concurrency), *(f"{r * batch:.0f}" for r in (grpc, limit)), f"{grpc / limit:.2f}"))
    print_table({"concurrency": "right", "gRPC, statements/s": "right", "in process": "right", "ratio": "right"}, rows)


def statements(batch: int, length: int) -> np.ndarray:
    """The words of statements of ours, INT64 [batch, length]."""
    lines = [" & ".join(f"r{j % 7}_less(X{i}, k{i + j}_sum(X{i}, {j}))" for j in range(length)) for i in range(batch)]
    return np.stack([word_hashes(line)[:length] for line in lines])


if __name__ == "__main__":
    typer.run(main)
