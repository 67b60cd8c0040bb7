"""Object detection without IO: what is sent to the model rfcn, and what is made of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neurips16.clients.media.image_reading import ImageSource, read_image
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import ClientError, InvalidImageError, InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Each, Emit, Operation, Reply
from neurips16.clients.tasks.detect import MIN_SCORE

DETECTOR = "rfcn"
OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


class Box(NamedTuple):
    """Edges in pixels of the image, from its upper left corner."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Detection:
    """One object that was found."""

    label: str
    score: float  # the probability, 0 to 1
    box: Box


def detection_labels(model: str = DETECTOR) -> Operation[tuple[str, ...]]:
    """Ask the server for the names of the classes that the detector knows, in their order."""
    (config,) = yield [messages.model_config(model)]
    return _labels(config)


def detect(image: ImageSource, *, min_score: float = MIN_SCORE, model: str = DETECTOR) -> Operation[list[Detection]]:
    """The objects on an image, those with the highest scores first.

    Args:
        image: a file's path, its bytes, an image of Pillow's, or an array uint8 [H, W, 3] in RGB, of any size. A file
            is turned upright as its EXIF orientation says, and the boxes are in pixels of the upright image.
        min_score: the threshold, a probability; the model itself reports nothing below its own.
        model: the detector's name on the server.

    Raises:
        InvalidImageError: the image cannot be read.
        UnexpectedReplyError: the model is not what `neurips16 export rfcn` makes.
    """
    (found,) = yield from detect_all([image], min_score=min_score, model=model)
    return found


def detect_all(
    images: Iterable[ImageSource], *, min_score: float = MIN_SCORE, model: str = DETECTOR
) -> Operation[list[list[Detection]]]:
    """The objects on each of several images; see `detect`. Several are under way at the same time."""
    labels = yield from _checked_labels(min_score, model)
    answers = yield (_request(read_image(image), model) for image in images)
    return [_detections(answer, labels, model, min_score) for answer in answers]


def detect_each(
    images: Iterable[ImageSource], *, min_score: float = MIN_SCORE, model: str = DETECTOR
) -> Operation[None]:
    """Emits, in the order of the images, a `Reply` for each: the objects on it, or why it has no answer."""
    labels = yield from _checked_labels(min_score, model)
    ready: dict[int, Reply] = {}  # by the image's place
    places: list[int] = []  # of the images that could be read, in the order of the calls

    def requests() -> Iterator[messages.Rpc]:
        for place, image in enumerate(images):
            try:
                rpc = _request(read_image(image), model)
            except InvalidImageError as error:
                ready[place] = Reply(place, error=error)
            else:
                places.append(place)
                yield rpc

    each, following = Each(requests()), 0
    while True:
        if (reply := (yield each)) is not None:
            place = places[reply.place]
            try:
                ready[place] = Reply(place, _detections(reply.result(), labels, model, min_score))
            except ClientError as error:
                ready[place] = Reply(place, error=error)
        while following in ready:
            yield Emit(ready.pop(following))
            following += 1
        if reply is None:
            return


def _checked_labels(min_score: float, model: str) -> Operation[tuple[str, ...]]:
    if not 0 <= min_score <= 1:
        raise InvalidInputError(f"min_score is a probability, 0 to 1, got {min_score}")
    return (yield from detection_labels(model))


def _request(image: np.ndarray, model: str) -> messages.Rpc[dict[str, np.ndarray]]:
    return messages.infer(model, {"image": image[None]}, outputs=OUTPUTS)


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


def _detections(
    answer: Mapping[str, np.ndarray], labels: tuple[str, ...], model: str, min_score: float
) -> list[Detection]:
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
        Detection(labels[label], float(score), Box(*box.tolist()))
        for label, score, box in zip(classes[0, :found], scores[0, :found], boxes[0, :found], strict=True)
        if score >= min_score
    ]
