"""Object detection without IO: what is sent to the model rfcn, and what is made of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from neurips16.clients.media.image_reading import ImageSource, read_image
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation

DETECTOR = "rfcn"
OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


@dataclass(frozen=True)
class Detection:
    """One object that was found."""

    label: str
    score: float  # the probability, 0 to 1
    box: tuple[float, float, float, float]  # x0, y0, x1, y1: edges in pixels of the image, from its upper left corner


def detection_labels(model: str = DETECTOR) -> Operation[tuple[str, ...]]:
    """Ask the server for the names of the classes that the detector knows, in their order."""
    (config,) = yield [messages.model_config(model)]
    return _labels(config)


def detect_all(
    images: Iterable[ImageSource], *, min_score: float = 0.0, model: str = DETECTOR
) -> Operation[list[list[Detection]]]:
    """Find the objects on each image; several are under way at the same time.

    Args:
        images: each is read when its turn comes to be sent.
        min_score: what is less sure is left out.
        model: the detector's name on the server.

    Returns:
        For each image its objects, the surest first.

    Raises:
        InvalidImageError: an image cannot be read.
        UnexpectedReplyError: the model is not what `neurips16 export rfcn` makes.
    """
    if not 0 <= min_score <= 1:
        raise InvalidInputError(f"min_score is a probability, 0 to 1, got {min_score}")
    labels = yield from detection_labels(model)
    answers = yield (messages.infer(model, {"image": read_image(image)[None]}, outputs=OUTPUTS) for image in images)
    return [[d for d in _detections(answer, labels, model) if d.score >= min_score] for answer in answers]


def detect(image: ImageSource, *, min_score: float = 0.0, model: str = DETECTOR) -> Operation[list[Detection]]:
    """Find the objects on one image; see `Client.detect`."""
    (found,) = yield from detect_all([image], min_score=min_score, model=model)
    return found


def _labels(config: ModelConfig) -> tuple[str, ...]:
    try:
        labels = json.loads(config.parameters["labels"])
    except (KeyError, json.JSONDecodeError) as error:
        raise UnexpectedReplyError(
            f"model {config.name!r} names no labels in its parameters: export it with `neurips16 export rfcn`"
        ) from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UnexpectedReplyError(
            f"model {config.name!r}: its parameter 'labels' is {labels!r}, expected a list of texts"
        )
    return tuple(labels)


def _detections(answer: Mapping[str, np.ndarray], labels: tuple[str, ...], model: str) -> list[Detection]:
    if missing := [name for name in OUTPUTS if name not in answer]:
        raise UnexpectedReplyError(f"model {model!r} gave no {', '.join(missing)}")
    count, boxes, scores, classes = (answer[name] for name in OUTPUTS)
    length = scores.shape[-1] if scores.ndim == 2 else 0
    fits = count.shape == (1, 1) and boxes.shape == (1, length, 4) and scores.shape == classes.shape == (1, length)
    if not fits or not 0 <= (found := int(count[0, 0])) <= length:
        shapes = ", ".join(f"{name} {list(answer[name].shape)}" for name in OUTPUTS)
        raise UnexpectedReplyError(f"model {model!r} gave {shapes}, which are no detections of one image")
    if found and not 0 <= classes[0, :found].min() <= classes[0, :found].max() < len(labels):
        raise UnexpectedReplyError(f"model {model!r} gave a class beyond its {len(labels)} labels")
    return [
        Detection(labels[label], float(score), tuple(box.tolist()))
        for label, score, box in zip(classes[0, :found], scores[0, :found], boxes[0, :found], strict=True)
    ]
