from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import soundfile
from tritonclient.grpc import service_pb2

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidAudioError, InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Reply, Stream
from neurips16.clients.tasks.classify_sound.calls import MODEL, SoundClass, SoundModel, classify_sound

RATE, WINDOW, STEP = 22_050, 110_250, 8_192
STEPS = 13  # of a window
FACTS = {
    "labels": json.dumps(["loud", "quiet"]),
    "sample_rate_hz": str(RATE),
    "window_samples": str(WINDOW),
    "step_samples": str(STEP),
}
CONFIG = ModelConfig(MODEL, "onnxruntime", 4, (), (), FACTS)


def hear(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A model that hears each step by itself: the louder, the surer of "loud"; silence has no weight."""
    steps = waveform[:, : STEPS * STEP].reshape(len(waveform), STEPS, STEP)
    level = np.sqrt((steps**2).mean(2))
    loud = np.clip(level, 0.01, 0.99)
    return np.stack([loud, 1 - loud], axis=2).astype(np.float32), (level > 0).astype(np.float32)


class Server:
    """Answers an operation's calls in this process, as a client does."""

    def __init__(self, config: ModelConfig = CONFIG, change=None):
        self.config, self.change = config, change
        self.shapes: list[tuple[int, ...]] = []

    def run(self, operation):
        stream = Stream(operation, self._perform)
        assert list(stream) == []
        return stream.result

    def _perform(self, calls):
        for place, rpc in enumerate(calls):
            assert rpc.model == MODEL
            yield Reply(place, self.config if rpc.method == "ModelConfig" else self._infer(rpc))

    def _infer(self, rpc):
        (tensor,), (raw,) = rpc.request.inputs, rpc.request.raw_input_contents
        waveform = np.frombuffer(raw, "<f4").reshape(tuple(tensor.shape))
        self.shapes.append(waveform.shape)
        outputs = dict(zip(("step_probabilities", "step_weights"), hear(waveform), strict=True))
        if self.change:
            outputs = self.change(outputs)
        reply = service_pb2.ModelInferResponse(model_name=MODEL)
        for name, value in outputs.items():
            reply.outputs.add(name=name, datatype=messages.encode_tensor(name, value)[0], shape=value.shape)
            reply.raw_output_contents.append(value.tobytes())
        return rpc.decode(reply)


def steady(seconds: float, level: float = 0.3) -> np.ndarray:
    return np.where(np.arange(round(seconds * RATE)) % 2, level, -level).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 4.99, 5.0, 5.01, 7.3, 10.0, 23.4, 61.0])
def test_any_length_is_sent_in_windows_of_one(seconds):
    server = Server()
    answer = server.run(classify_sound(steady(seconds), RATE, steps=True))
    assert {shape[1] for shape in server.shapes} == {WINDOW}
    assert all(shape[0] <= 4 for shape in server.shapes)  # the model's max_batch_size
    assert isinstance(answer, list)
    assert [found.label for found in answer] == ["quiet", "loud"]
    assert sum(found.probability for found in answer) == pytest.approx(1)
    assert answer.duration_s == pytest.approx(seconds, abs=1e-3)
    times = answer.timeline.start_s
    assert (np.diff(times) > 0.45 * STEP / RATE).all()  # in order, and no piece twice
    assert len(times) == pytest.approx(max(1, seconds * RATE / STEP), abs=1 + seconds / 5 * 0.5)
    assert times[-1] <= seconds
    if seconds >= 1:  # below, silence is put behind the sound
        assert answer[1].probability == pytest.approx(0.3, abs=1e-3)


def test_the_clips_answer_is_the_mean_of_the_steps_that_have_something_to_say():
    sound = np.concatenate([steady(5.0, 0.9), np.zeros(5 * RATE, np.float32), steady(5.0, 0.6)])
    answer = {found.label: found.probability for found in Server().run(classify_sound(sound, RATE))}
    odds = np.exp((np.log(0.9 / 0.1) + np.log(0.6 / 0.4)) / 2)  # the mean of the scores; silence between has none
    assert answer["loud"] == pytest.approx(odds / (1 + odds), abs=1e-3)


def test_what_is_heard_when():
    sound = np.concatenate([steady(6.0, 0.1), steady(6.0, 0.8)])
    timeline = Server().run(classify_sound(sound, RATE, steps=True)).timeline
    assert timeline.labels == ("loud", "quiet")
    middles = timeline.start_s + timeline.step_s / 2
    clear = np.abs(middles - 6) > timeline.step_s
    np.testing.assert_allclose(timeline.probabilities[clear, 0], np.where(middles[clear] < 6, 0.1, 0.8), atol=1e-3)
    assert Server().run(classify_sound(sound, RATE)).timeline is None


def test_the_last_piece_of_a_clip_counts_once():
    """What is behind the last whole window is heard in a window that reaches back, whose old steps do not count."""
    sound = np.concatenate([steady(5.0, 0.2), steady(2.5, 0.7)])
    answer = Server().run(classify_sound(sound, RATE, steps=True))
    assert len(answer.timeline.start_s) == pytest.approx(13 + 2.5 * RATE / STEP, abs=1)
    logits = np.log(answer.timeline.probabilities)
    mean = logits.mean(0)
    likely = np.exp(mean) / np.exp(mean).sum()
    assert dict((found.label, found.probability) for found in answer)["loud"] == pytest.approx(likely[0], abs=1e-4)


def test_top_k():
    assert Server().run(classify_sound(steady(2.0), RATE, top_k=1)) == [
        SoundClass("quiet", pytest.approx(0.7, abs=1e-3))
    ]
    with pytest.raises(InvalidInputError, match="top_k is at least 1"):
        Server().run(classify_sound(steady(2.0), RATE, top_k=0))


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.zeros(30_000), "silent: every sample is zero"),
        (steady(0.01), "lasts 0.010 s: too short"),
        (np.full(30_000, np.nan), "not finite"),
    ],
)
def test_sounds_in_which_there_is_nothing_to_hear(sound, message):
    with pytest.raises(InvalidAudioError, match=message):
        Server().run(classify_sound(sound, RATE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": "loud"},
        {"labels": "[]"},
        {"window_samples": "0"},
        {"sample_rate_hz": "fast"},
    ],
)
def test_models_of_another_kind(wrong):
    config = ModelConfig(MODEL, "onnxruntime", 4, (), (), {**FACTS, **wrong})
    with pytest.raises(UnexpectedReplyError, match=MODEL):
        SoundModel.of(config)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: {"step_weights": o["step_weights"]},
        lambda o: o | {"step_probabilities": o["step_probabilities"] * np.float32(np.nan)},
        lambda o: o | {"step_probabilities": o["step_probabilities"][:, :5]},
        lambda o: o | {"step_weights": o["step_weights"].astype(np.float64)},
    ],
)
def test_answers_that_cannot_be(change):
    with pytest.raises(UnexpectedReplyError):
        Server(change=change).run(classify_sound(steady(2.0), RATE))


@pytest.mark.slow
def test_an_hour_needs_little_memory(tmp_path):
    path = tmp_path / "hour.flac"
    minute = (0.2 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(60):
            file.write(minute)
    tracemalloc.start()
    answer = Server().run(classify_sound(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.duration_s == 3600
    assert peak < 40 * 2**20  # the hour itself is 318 MB
