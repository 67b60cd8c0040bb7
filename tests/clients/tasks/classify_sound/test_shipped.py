"""The sound client against a real Triton with the classifier that ships."""

from __future__ import annotations

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from neurips16.clients import AsyncClient, Client
from neurips16.clients.protocol.errors import RequestError

ROOT = Path(__file__).parents[4]
MODELS = ROOT / "serving/models"
SAMPLES = sorted((ROOT / "clients/tasks/classify_sound/examples").glob("*.ogg"))
RATE = 22_050
pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="needs the serving extra"),
    pytest.mark.skipif(not (MODELS / "sound_classifier").is_dir(), reason=f"needs the shipped model in {MODELS}"),
]


@pytest.fixture(scope="module")
def url():
    from neurips16.serving.triton.server import TritonServer

    with TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server:
        yield server.url


@pytest.fixture
def client(url):
    with Client(url) as client:
        yield client


def test_the_samples_that_ship_are_named(client):
    assert len(SAMPLES) == 2
    for path in SAMPLES:
        answer = client.classify_sound(path, steps=True)
        assert len(answer) == 10
        assert sum(found.probability for found in answer) == pytest.approx(1, abs=1e-5)
        assert len(answer.timeline.start_s) == pytest.approx(answer.duration_s * RATE / 8192, abs=2)


@pytest.mark.parametrize("seconds", [1.0, 3.3, 5.0])
def test_the_client_says_what_the_graph_says(client, seconds):
    """Up to a window long, the clip's answer is the model's own, whoever repeats the sound."""
    sound = (0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)
    got = {found.label: found.probability for found in client.classify_sound(sound, RATE)}
    own = client.infer("sound_classifier", {"waveform": sound[None]})["class_probabilities"][0]
    np.testing.assert_allclose(sorted(got.values()), np.sort(own), rtol=1e-3, atol=1e-5)


def test_a_long_sound_is_answered_much_as_in_one_piece(client):
    """Cutting changes what the steps at the edges hear, and nothing else."""
    rng = np.random.default_rng(1)
    sound = np.concatenate([0.3 * rng.standard_normal(4 * RATE), np.sin(np.arange(7 * RATE) / 9)]).astype(np.float32)
    got = {found.label: found.probability for found in client.classify_sound(sound, RATE)}
    own = client.infer("sound_classifier", {"waveform": sound[None]})["class_probabilities"][0]
    assert np.abs(np.sort(own) - sorted(got.values())).max() < 0.25


def test_no_sound_at_all_is_refused_and_the_model_lives_on(client):
    with pytest.raises(RequestError):
        client.infer("sound_classifier", {"waveform": np.zeros((1, 0), np.float32)})
    assert client.classify_sound(np.full(RATE, 0.1), RATE)


def test_many_lengths_from_many_clients(url):
    """Mixed lengths at concurrency 8: every answer is the one that the sound gets alone."""
    rng = np.random.default_rng(2)
    sounds = [(0.2 * rng.standard_normal(round(s * RATE))).astype(np.float32) for s in (0.4, 1.1, 2.5, 5.0, 6.1, 11.9)]
    with Client(url) as client:
        want = [client.classify_sound(sound, RATE) for sound in sounds]

    def ask(number: int) -> None:
        with Client(url) as own:
            for turn in range(10):
                place = (number + turn) % len(sounds)
                got = own.classify_sound(sounds[place], RATE)
                for a, b in zip(got, want[place], strict=True):
                    assert (a.label, a.probability) == (b.label, pytest.approx(b.probability, rel=1e-3, abs=1e-5))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_the_async_client_agrees(url, client):
    async def ask():
        async with AsyncClient(url) as asynchronous:
            return await asyncio.gather(*(asynchronous.classify_sound(path, top_k=3) for path in SAMPLES))

    for path, got in zip(SAMPLES, asyncio.run(ask()), strict=True):
        want = client.classify_sound(path, top_k=3)
        assert [found.label for found in got] == [found.label for found in want]
        assert [f.probability for f in got] == pytest.approx([f.probability for f in want], rel=1e-3)
