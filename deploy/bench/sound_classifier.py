"""Seconds of audio that are classified in a second: over gRPC and in process, and what lengths do to batching.

    python deploy/bench/sound_classifier.py [--seconds 5] [--json FILE]

First equal windows, as our client sends them, at several concurrencies beside ONNX Runtime in process on as many
threads. Then clips of different lengths from eight clients at once, in three ways: each as long as it is (the server
finds no equal shapes to batch), padded to a few lengths by repeating (buckets), and in windows of one length.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime as ort
import typer
from throughput import rate

from neurips16.clients import Client
from neurips16.clients.tables import print_table
from neurips16.clients.tasks.classify_sound.calls import MODEL, classify_sound
from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "serving/models"
RATE_HZ, WINDOW = 22_050, 110_250
CONCURRENCIES = (1, 2, 4, 8)
LENGTHS_S = (1.5, 2.2, 3.1, 4.0, 5.0, 6.3, 7.7, 9.1, 12.4, 15.0)
BUCKETS_S = (5, 10, 15)


def main(
    seconds: Annotated[float, typer.Option(help="Time of each measurement.")] = 5.0,
    models: Annotated[Path, typer.Option(help="The model repository.")] = MODELS,
    record: Annotated[Path | None, typer.Option("--json", help="Also write what was measured here.")] = None,
) -> None:
    """Print seconds of audio per second."""
    rng = np.random.default_rng(0)
    window = (0.1 * rng.standard_normal((1, WINDOW))).astype(np.float32)
    clips = [(0.1 * rng.standard_normal(round(s * RATE_HZ))).astype(np.float32) for s in LENGTHS_S]
    session = ort.InferenceSession(max((models / MODEL).glob("*/model.onnx")), providers=["CPUExecutionProvider"])
    want = session.run(["class_probabilities"], {"waveform": window})[0]
    found: dict[str, dict[str, float]] = {}
    with (
        TritonServer(models, grpc_port=0, http_port=None, metrics_port=None) as server,
        Client(server.url) as client,
    ):

        def served() -> float:
            got = client.infer(MODEL, {"waveform": window}, outputs=["class_probabilities"])["class_probabilities"]
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
            return WINDOW / RATE_HZ

        def local() -> float:
            session.run(None, {"waveform": window})
            return WINDOW / RATE_HZ

        for concurrency in CONCURRENCIES:  # in turns, so that a machine whose speed drifts slows both
            over_grpc, in_process = rate(served, concurrency, seconds), rate(local, concurrency, seconds)
            found[f"windows, {concurrency} at once"] = {"grpc": over_grpc, "in_process": in_process}
        for name, way in (("as they are", as_they_are), ("buckets", buckets), ("windows of one length", windows)):
            found[f"mixed lengths, {name}"] = {"grpc": rate(way(client, clips), 8, seconds)}
    rows = []
    for name, rates in found.items():
        local_rate = rates.get("in_process")
        beside = ("-", "-") if local_rate is None else (f"{local_rate:.0f}", f"{rates['grpc'] / local_rate:.2f}")
        rows.append((name, f"{rates['grpc']:.0f}", *beside))
    print_table({"seconds of audio per second": "left", "gRPC": "right", "in process": "right", "ratio": "right"}, rows)
    if record is not None:
        command = f"python deploy/bench/sound_classifier.py --seconds {seconds:g}"
        record.write_text(json.dumps({"command": command, "rates": found}, indent=2) + "\n")


def as_they_are(client: Client, clips: list[np.ndarray]) -> Callable[[], float]:
    """Each clip in one request of its own length."""
    return turns(clips, lambda clip: client.infer(MODEL, {"waveform": clip[None]}))


def buckets(client: Client, clips: list[np.ndarray]) -> Callable[[], float]:
    """Each clip in one request, repeated to the next of a few lengths."""

    def padded(clip: np.ndarray) -> np.ndarray:
        return np.resize(clip, next(s for s in BUCKETS_S if s * RATE_HZ >= len(clip)) * RATE_HZ)

    return turns(clips, lambda clip: client.infer(MODEL, {"waveform": padded(clip)[None]}))


def windows(client: Client, clips: list[np.ndarray]) -> Callable[[], float]:
    """What `Client.classify_sound` does."""
    return turns(clips, lambda clip: client.run(classify_sound(clip, RATE_HZ)))


def turns(clips: list[np.ndarray], ask: Callable[[np.ndarray], object]) -> Callable[[], float]:
    """A call that asks for the next clip, whoever calls, and says how long the clip was."""
    order, lock = itertools.cycle(clips), threading.Lock()

    def call() -> float:
        with lock:
            clip = next(order)
        ask(clip)
        return len(clip) / RATE_HZ

    return call


if __name__ == "__main__":
    typer.run(main)
