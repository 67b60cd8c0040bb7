"""What can be scored: one class a task, each with the columns that it adds and the operation that fills them.

Nothing of a model is known here but through the operations that the clients have anyway. A task is a small value that
travels to the workers.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from neurips16.clients.media.image_reading import read_image
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, InvalidStatementError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.tasks.classify_sound.calls import MODEL as SOUND_CLASSIFIER
from neurips16.clients.tasks.classify_sound.calls import SoundModel, classify
from neurips16.clients.tasks.detect.calls import DETECTOR, detect, detection_labels
from neurips16.clients.tasks.rank_premises import calls as premises
from neurips16.clients.tasks.rank_premises.premise_index import MANIFEST as INDEX_MANIFEST
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex, best
from neurips16.clients.tasks.rank_premises.statements import Statement, read_conjecture, read_premises

Value = str | bytes | Path  # of one row: a text, the bytes of a file, or a file
Result = dict[str, Any]  # by column

_STATEMENTS_AT_A_TIME = 64
_IMAGES_AT_A_TIME = 8
_CLASSES = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))
_BOX = pa.struct([(edge, pa.float32()) for edge in ("x0", "y0", "x1", "y1")])


class Task(ABC):
    """A task with its options, which are its fields."""

    name: ClassVar[str]
    wants: ClassVar[str]  # "file" or "text": what the values of a column of texts are
    rows_at_a_time: ClassVar[int] = 1  # that are given to `score` together

    @property
    @abstractmethod
    def models(self) -> tuple[str, ...]:
        """The models that it asks, the one first whose answer it is."""

    @abstractmethod
    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """The columns that it adds, given the configuration of the first model."""

    @abstractmethod
    def check(self) -> Operation[None]:
        """See that the models are what the task expects, before a row is read."""

    def options(self) -> dict[str, Any]:
        """What of it decides the results, as JSON values."""
        return asdict(self)  # type: ignore[call-overload]  # every task is a dataclass

    def prepare(self, folder: Path) -> Operation[Task]:
        """The task that the workers do, once what they need is in ``folder``."""
        yield from ()
        return self

    @abstractmethod
    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """The results of some rows; an error means that one of them cannot be scored, or that nothing can."""


@dataclass(frozen=True)
class DetectTask(Task):
    """Objects on images."""

    name = "detect"
    wants = "file"

    model: str = DETECTOR
    min_score: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise InvalidInputError(f"min_score is a probability, 0 to 1, got {self.min_score}")

    @property
    def models(self) -> tuple[str, ...]:
        """See `Task.models`."""
        return (self.model,)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `Task.fields`."""
        found = pa.struct([("label", pa.string()), ("score", pa.float32()), ("box", _BOX)])
        return [pa.field("detections", pa.list_(found))]

    def check(self) -> Operation[None]:
        """See `Task.check`."""
        yield from detection_labels(self.model)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `Task.score`."""
        results = []
        for value in values:
            found = yield from detect(value, min_score=self.min_score, model=self.model)
            results.append(
                {
                    "detections": [
                        {"label": d.label, "score": d.score, "box": dict(zip(_BOX.names, d.box, strict=True))}
                        for d in found
                    ]
                }
            )
        return results


@dataclass(frozen=True)
class ClassifySoundTask(Task):
    """What can be heard in sounds."""

    name = "classify-sound"
    wants = "file"

    top: int | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """See `Task.models`."""
        return (SOUND_CLASSIFIER,)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `Task.fields`."""
        return [pa.field("classes", _CLASSES), pa.field("duration_s", pa.float64())]

    def check(self) -> Operation[None]:
        """See `Task.check`."""
        (config,) = yield [messages.model_config(SOUND_CLASSIFIER)]
        SoundModel.of(config)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `Task.score`."""
        results = []
        for value in values:
            heard = yield from classify(value, top_k=self.top)
            results.append({"classes": [asdict(found) for found in heard], "duration_s": heard.duration_s})
        return results


@dataclass(frozen=True)
class ClassifyImageTask(Task):
    """Classes of whole images, by any model with an ``image`` and ``class_probabilities``."""

    name = "classify-image"
    wants = "file"
    rows_at_a_time = _IMAGES_AT_A_TIME

    model: str
    top: int | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """See `Task.models`."""
        return (self.model,)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `Task.fields`."""
        return [pa.field("classes", _CLASSES)]

    def check(self) -> Operation[None]:
        """See `Task.check`."""
        (config,) = yield [messages.model_config(self.model)]
        _labels(config)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `Task.score`."""
        (config,) = yield [messages.model_config(self.model)]
        labels, most = _labels(config), max(1, config.max_batch_size)
        images = [read_image(value) for value in values]
        places: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(images):
            places.setdefault(image.shape, []).append(place)
        batches = [same[start : start + most] for same in places.values() for start in range(0, len(same), most)]
        answers = yield (
            messages.infer(self.model, {"image": np.stack([images[i] for i in batch])}, outputs=["class_probabilities"])
            for batch in batches
        )
        results: dict[int, Result] = {}
        for batch, answer in zip(batches, answers, strict=True):
            likely = _floats(answer, self.model, "class_probabilities", (len(batch), len(labels)))
            for place, row in zip(batch, likely, strict=True):
                order = np.argsort(-row, kind="stable")[: self.top]
                results[place] = {"classes": [{"label": labels[i], "probability": float(row[i])} for i in order]}
        return [results[place] for place in range(len(images))]


@dataclass(frozen=True)
class EmbedTask(Task):
    """Vectors of statements."""

    name = "embed"
    wants = "text"
    rows_at_a_time = _STATEMENTS_AT_A_TIME

    model: str = premises.PREMISE_ENCODER

    def __post_init__(self) -> None:
        known = (premises.PREMISE_ENCODER, premises.CONJECTURE_ENCODER)
        if self.model not in known:
            raise InvalidInputError(f"the models that embed are {' and '.join(known)}, got {self.model!r}")

    @property
    def models(self) -> tuple[str, ...]:
        """See `Task.models`."""
        others = (premises.CONJECTURE_ENCODER, premises.PREMISE_ENCODER, premises.RANKER)
        return (self.model, *(name for name in others if name != self.model))

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `Task.fields`."""
        (embedding,) = (tensor for tensor in config.outputs if tensor.name == "embedding")
        return [pa.field("embedding", pa.list_(pa.float32(), embedding.dims[-1])), pa.field("truncated", pa.bool_())]

    def check(self) -> Operation[None]:
        """See `Task.check`."""
        yield from premises.premise_models()

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `Task.score`."""
        encoded = yield from _encode(self.model, values)
        return [{"embedding": row, "truncated": cut} for row, cut in encoded]


@dataclass(frozen=True)
class RankPremisesTask(Task):
    """The premises of one library that help to prove each conjecture."""

    name = "rank-premises"
    wants = "text"
    rows_at_a_time = _STATEMENTS_AT_A_TIME

    premises: Path  # an index of them, or a file of statements, one a line
    top: int = 10

    def __post_init__(self) -> None:
        if self.top < 1:
            raise InvalidInputError(f"top is at least 1, got {self.top}")

    @property
    def models(self) -> tuple[str, ...]:
        """See `Task.models`."""
        return (premises.RANKER, premises.CONJECTURE_ENCODER, premises.PREMISE_ENCODER)

    def options(self) -> dict[str, Any]:
        """See `Task.options`."""
        path = self.premises / INDEX_MANIFEST if PremiseIndex.is_at(self.premises) else self.premises
        try:
            return {"top": self.top, "premises": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
        except OSError as error:
            raise InvalidInputError(f"the premises {path} cannot be read: {error.strerror}") from error

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `Task.fields`."""
        ranked = [("rank", pa.int32()), ("score", pa.float32()), ("index", pa.int64()), ("text", pa.string())]
        return [pa.field("premises", pa.list_(pa.struct(ranked))), pa.field("truncated", pa.bool_())]

    def check(self) -> Operation[None]:
        """See `Task.check`."""
        yield from premises.premise_models()

    def prepare(self, folder: Path) -> Operation[Task]:
        """See `Task.prepare`."""
        if PremiseIndex.is_at(self.premises):
            premises.check_build(PremiseIndex.open(self.premises), (yield from premises.premise_models()))
            return replace(self, premises=self.premises.absolute())
        index = folder / "premises.index"
        yield from premises.grow_index(index, read_premises(self.premises))
        return replace(self, premises=index)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `Task.score`."""
        encoded = yield from _encode(premises.CONJECTURE_ENCODER, values)
        index = PremiseIndex.open(self.premises)  # memory-mapped: opening it again costs little
        return [{"premises": list(self._ranked(index, row)), "truncated": cut} for row, cut in encoded]

    def _ranked(self, index: PremiseIndex, conjecture: np.ndarray) -> Iterator[Result]:
        scores = index.scores(conjecture)
        for rank, place in enumerate(best(scores, self.top), start=1):
            yield {"rank": rank, "score": float(scores[place]), "index": int(place), "text": index.text(int(place))}


TASKS: dict[str, type[Task]] = {
    task.name: task for task in (DetectTask, ClassifySoundTask, RankPremisesTask, ClassifyImageTask, EmbedTask)
}


def _encode(model: str, values: Sequence[Value]) -> Operation[list[tuple[np.ndarray, bool]]]:
    """Each statement's embedding [D], and whether it is longer than the model reads."""
    models = yield from premises.premise_models()
    statements = [_statement(value, row) for row, value in enumerate(values)]
    truncated = set(models.check(statements))
    embeddings = yield from premises.encode(models, model, statements)
    return [(embedding, row in truncated) for row, embedding in enumerate(embeddings)]


def _statement(value: Value, row: int) -> Statement:
    if isinstance(value, Path):
        statement = read_conjecture(value)
        return Statement(statement.text, row, statement.where, statement.name, statement.formula)
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidStatementError(f"the statement is not UTF-8: byte 0x{value[error.start]:02x}") from error
    return Statement.parse(value, index=row)


def _labels(config: ModelConfig) -> list[str]:
    inputs = {tensor.name: tensor for tensor in config.inputs}
    said = config.parameters.get("labels", "")
    try:
        labels = json.loads(said)
    except json.JSONDecodeError:
        labels = None
    takes_images = "image" in inputs and inputs["image"].dtype == "UINT8" and inputs["image"].dims[2:] == (3,)
    gives_classes = any(tensor.name == "class_probabilities" for tensor in config.outputs)
    if not isinstance(labels, list) or not takes_images or not gives_classes:
        raise UnexpectedReplyError(
            f"model {config.name!r} does not classify images: expected an input 'image' UINT8 [H,W,3], an output "
            f"'class_probabilities' and a parameter 'labels', got {', '.join(inputs)}, "
            f"{', '.join(t.name for t in config.outputs)} and {said or 'no labels'}"
        )
    return labels


def _floats(answer: dict[str, np.ndarray], model: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    got = answer.get(name)
    if got is None or got.dtype != np.float32 or got.shape != shape or not np.isfinite(got).all():
        raise UnexpectedReplyError(f"model {model!r} did not answer with finite float32 {list(shape)} as {name!r}")
    return got
