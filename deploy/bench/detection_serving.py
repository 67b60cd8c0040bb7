"""The whole detector over gRPC, beside ONNX Runtime in process, at several concurrencies.

    python deploy/bench/detection_serving.py [--seconds 5] [--width 640] [--height 480]

The same drawn image goes to both; the two are measured in turns, so that a machine whose speed drifts slows both. Every
answer is held against the in-process one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from throughput import rate

from neurips16.clients import Client
from neurips16.clients.tables import print_table
from neurips16.export.ops import library_path
from neurips16.export.session import make_session
from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "serving/models"
MODEL = "rfcn"
CONCURRENCIES = (1, 2, 4, 8)


def main(
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 5.0,
    width: Annotated[int, typer.Option(help="Of the image, in pixels.")] = 640,
    height: Annotated[int, typer.Option(help="Of the image, in pixels.")] = 480,
) -> None:
    """Print milliseconds an image and images per second at each concurrency."""
    image = discs(height, width)
    path = max((MODELS / MODEL).glob("*/model.onnx"), key=lambda p: int(p.parent.name))
    session = make_session(path, intra_op_threads=0, op_library=library_path())
    want = session.run(["detection_scores"], {"image": image})[0]
    rows = []
    with (
        TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server,
        Client(server.url) as client,
    ):

        def served() -> None:
            got = client.infer(MODEL, {"image": image})["detection_scores"]
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)

        def in_process() -> None:
            session.run(None, {"image": image})

        rate(served, 1, 1.0)  # the first requests pay for threads and memory
        for concurrency in CONCURRENCIES:
            limit = rate(in_process, 1, seconds)
            grpc = rate(served, concurrency, seconds)
            cells = (f"{1e3 * concurrency / grpc:.1f}", f"{grpc:.1f}", f"{1e3 / limit:.1f}", f"{limit:.1f}")
            rows.append((str(concurrency), *cells, f"{grpc / limit:.2f}"))
    headings = ("concurrency", "gRPC, ms", "gRPC, images/s", "in process, ms", "in process, images/s", "ratio")
    print_table(dict.fromkeys(headings, "right"), rows)


def discs(height: int, width: int) -> np.ndarray:
    """Coloured discs on a pale ground, UINT8 [1, height, width, 3]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    image = np.full((1, height, width, 3), 220, np.uint8)
    for _ in range(15):
        centre, radius = rng.uniform((0, 0), (height, width)), rng.uniform(0.05, 0.12) * height
        image[0, np.hypot(y - centre[0], x - centre[1]) < radius] = rng.integers(60, 200, 3)
    return image


if __name__ == "__main__":
    typer.run(main)
