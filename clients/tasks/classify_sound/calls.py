"""Naming sounds, without IO to the server: windows of one length go out, scores at every time step come back.

All windows of all clients have the same length, so that the server finds equal shapes to batch, whatever the lengths of
the clips, and a long file is never in memory as a whole. Where a batch gains little, that costs what short clips are
repeated for: on two cores, with eight clients and clips of 1.5 to 15 s, deploy/bench/sound_classifier.py measured 386
seconds of audio per second, and 453 of clips that are sent as they are. A clip shorter than a window is repeated to
one, as the model itself would; what is left behind the last whole window is answered for by a window that ends where
the clip does. The clip's answer is the weighted mean of its steps' scores, as within a window.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from neurips16.clients.media.audio import Audio, sound_blocks
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidAudioError, InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Each, Operation

MODEL = "sound_classifier"
SHORTEST_S = 0.1  # in less, nothing can be told apart
PADDED_S = 1.0  # shorter sounds get silence behind them, as the clips have that the model learnt from
WINDOWS_PER_REQUEST = 8  # 3.5 MB; bounds the memory together with the client's max_in_flight
_LEAST_WEIGHT = 1e-6  # of a silent step, as in the model
_LEAST_PROBABILITY = 1e-30


@dataclass(frozen=True)
class SoundClass:
    """One class, and how likely the model thinks it."""

    label: str
    probability: float


@dataclass(frozen=True)
class SoundTimeline:
    """What is heard when."""

    labels: tuple[str, ...]
    start_s: np.ndarray  # [S], of each step
    step_s: float  # from one step to the next
    probabilities: np.ndarray  # float32 [S, C]
    weights: np.ndarray  # float32 [S], 0 to 1: near 0 where there is silence


class SoundClassification(list[SoundClass]):
    """The classes of a sound, the likeliest first.

    Attributes:
        duration_s: length of the sound.
        timeline: the time steps, where they were asked for.
    """

    def __init__(self, classes: Iterable[SoundClass], duration_s: float, timeline: SoundTimeline | None = None):
        super().__init__(classes)
        self.duration_s = duration_s
        self.timeline = timeline


@dataclass(frozen=True)
class SoundModel:
    """The facts that a server tells about its classifier."""

    labels: tuple[str, ...]
    sample_rate_hz: int
    window_samples: int
    step_samples: int
    windows_per_request: int

    @classmethod
    def of(cls, config: ModelConfig) -> SoundModel:
        """Read a model's configuration.

        Raises:
            UnexpectedReplyError: it is not what `neurips16 export sound_classifier` writes.
        """
        try:
            labels = tuple(json.loads(config.parameters["labels"]))
            rate, window, step = (
                int(config.parameters[name]) for name in ("sample_rate_hz", "window_samples", "step_samples")
            )
        except (KeyError, ValueError, TypeError) as error:
            raise UnexpectedReplyError(
                f"model {config.name!r} has no proper labels, sample_rate_hz, window_samples and step_samples among "
                f"its parameters: it is not one that `neurips16 export sound_classifier` wrote"
            ) from error
        if not labels or min(rate, window, step) < 1:
            raise UnexpectedReplyError(
                f"model {config.name!r} has labels {labels}, sample_rate_hz {rate}, window_samples {window} and "
                f"step_samples {step}"
            )
        return cls(labels, rate, window, step, max(1, min(WINDOWS_PER_REQUEST, config.max_batch_size)))


@dataclass
class _Window:
    samples: np.ndarray  # float32 [window_samples]
    start: int  # its first sample's place in the clip
    fresh: int  # the steps before this sample were another window's
    end: int  # the steps behind this one are repetition


@dataclass
class _Clip:
    """What is gathered of one clip while its windows come and go."""

    model: SoundModel
    keep_steps: bool
    samples: int = 0
    heard: bool = False
    total: np.ndarray = field(init=False)
    weight: float = 0.0
    steps: dict[int, tuple[np.ndarray, ...]] = field(default_factory=dict)  # window -> starts, probabilities, weights

    def __post_init__(self) -> None:
        self.total = np.zeros(len(self.model.labels))

    def windows(self, blocks: Iterable[np.ndarray]) -> Iterator[_Window]:
        """Cut a sound into windows, counting its samples on the way."""
        size, rate = self.model.window_samples, self.model.sample_rate_hz
        buffer, last = np.zeros(0, np.float32), None
        for block in blocks:
            self.samples += len(block)
            self.heard = self.heard or bool(block.any())
            buffer = np.concatenate([buffer, block])
            while len(buffer) >= size:
                start = self.samples - len(buffer)
                last, buffer = buffer[:size], buffer[size:]
                yield _Window(last, start, start, start + size)
        if self.samples < SHORTEST_S * rate:
            raise InvalidAudioError(
                f"the sound lasts {self.samples / rate:.3f} s: too short to be named, {SHORTEST_S} s are the least"
            )
        if not self.heard:
            raise InvalidAudioError("the sound is silent: every sample is zero")
        if last is None:
            padded = np.pad(buffer, (0, max(0, round(PADDED_S * rate) - len(buffer))))
            yield _Window(np.resize(padded, size), 0, 0, max(self.samples, self.model.step_samples))
        elif 2 * len(buffer) >= self.model.step_samples:
            start = self.samples - size
            fresh = self.samples - len(buffer)
            yield _Window(np.concatenate([last, buffer])[-size:], start, fresh, self.samples)

    def add(self, window: _Window, probabilities: np.ndarray, weights: np.ndarray) -> None:
        """Take in what the model says of a window: [S, C] and [S]."""
        starts = window.start + np.arange(len(weights)) * self.model.step_samples
        middles = starts + self.model.step_samples / 2
        fresh = middles >= window.fresh
        shares = weights[fresh].astype(np.float64) + _LEAST_WEIGHT
        self.total += shares @ np.log(np.maximum(probabilities[fresh], _LEAST_PROBABILITY))
        self.weight += float(shares.sum())
        if self.keep_steps:
            own = fresh & (middles <= window.end)
            self.steps[window.start] = (starts[own], probabilities[own], weights[own])

    def result(self, top_k: int | None) -> SoundClassification:
        """The clip's classes; softmax of the mean of log-probabilities is that of the mean of scores."""
        mean = self.total / self.weight
        likely = np.exp(mean - mean.max())
        likely /= likely.sum()
        order = np.argsort(-likely, kind="stable")[:top_k]
        classes = [SoundClass(self.model.labels[i], float(likely[i])) for i in order]
        return SoundClassification(classes, self.samples / self.model.sample_rate_hz, self._timeline())

    def _timeline(self) -> SoundTimeline | None:
        if not self.keep_steps:
            return None
        rate = self.model.sample_rate_hz
        columns = zip(*(self.steps[start] for start in sorted(self.steps)), strict=True)
        starts, probabilities, weights = (np.concatenate(column) for column in columns)
        return SoundTimeline(self.model.labels, starts / rate, self.model.step_samples / rate, probabilities, weights)


def classify_sound(
    audio: Audio, sample_rate_hz: int | None = None, *, top_k: int | None = None, steps: bool = False
) -> Operation[SoundClassification]:
    """What can be heard, the likeliest class first: a list of `SoundClass`.

    Args:
        audio: a file (wav, flac, ogg, mp3, …), or samples [T] or [T, channels]: floating-point numbers in [-1, 1], or
            whole numbers of 8, 16 or 32 bits. Any rate, any length from 0.1 s; long files are read and sent a window
            at a time.
        sample_rate_hz: of an array; a file says its own.
        top_k: how many classes to return; all, if None.
        steps: also say what is heard when, as ``timeline`` of the answer.

    Raises:
        InvalidInputError: the sound cannot be used.
        UnexpectedReplyError: the server's model is another.
    """
    if top_k is not None and top_k < 1:
        raise InvalidInputError(f"top_k is at least 1, or None for all, got {top_k}")
    (config,) = yield [messages.model_config(MODEL)]
    model = SoundModel.of(config)
    clip = _Clip(model, steps)

    batches: dict[int, list[_Window]] = {}  # those under way

    def requests() -> Iterator[messages.Rpc[dict[str, np.ndarray]]]:
        windows = clip.windows(sound_blocks(audio, sample_rate_hz, model.sample_rate_hz))
        for place in itertools.count():
            if not (batch := list(itertools.islice(windows, model.windows_per_request))):
                return
            batches[place] = batch
            waveform = np.stack([window.samples for window in batch])
            yield messages.infer(MODEL, {"waveform": waveform}, outputs=["step_probabilities", "step_weights"])

    each = Each(requests())
    while (reply := (yield each)) is not None:
        _take(clip, batches.pop(reply.place), reply.result())
    return clip.result(top_k)


def _take(clip: _Clip, batch: list[_Window], answer: dict[str, np.ndarray]) -> None:
    probabilities, weights = (_output(answer, name) for name in ("step_probabilities", "step_weights"))
    if probabilities.shape != (len(batch), weights.shape[-1], len(clip.model.labels)) or weights.ndim != 2:
        raise UnexpectedReplyError(
            f"model {MODEL!r} answered with shapes {list(probabilities.shape)} and {list(weights.shape)} to "
            f"{len(batch)} windows and {len(clip.model.labels)} labels"
        )
    for window, row, weight in zip(batch, probabilities, weights, strict=True):
        clip.add(window, row, weight)


def _output(answer: dict[str, np.ndarray], name: str) -> np.ndarray:
    got = answer.get(name)
    if got is None or got.dtype != np.float32 or not got.size or not np.isfinite(got).all():
        raise UnexpectedReplyError(f"model {MODEL!r} did not answer with finite FP32 numbers as {name!r}")
    return got
