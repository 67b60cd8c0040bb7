"""Classes of whole images, from any model with an ``image``, ``class_probabilities`` and labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.clients.media.image_reading import ImageSource, read_image
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation


@dataclass(frozen=True)
class ImageClass:
    """One class, and how likely the model thinks it."""

    label: str
    probability: float


def classify_image(image: ImageSource, *, model: str, top_k: int | None = None) -> Operation[list[ImageClass]]:
    """What an image shows, the likeliest class first.

    Args:
        image: a file's path, its bytes, an image of Pillow's, or an array uint8 [H, W, 3] in RGB.
        model: the classifier's name on the server.
        top_k: how many classes to return; all, if None.

    Raises:
        InvalidImageError: the image cannot be read.
        UnexpectedReplyError: the model does not classify images.
    """
    (classes,) = yield from classify_images([read_image(image)], model=model, top_k=top_k)
    return classes


def classify_images(
    images: Sequence[np.ndarray], *, model: str, top_k: int | None = None
) -> Operation[list[list[ImageClass]]]:
    """The classes of several images, uint8 [H, W, 3] each; those of one size are batched. See `classify_image`."""
    if top_k is not None and top_k < 1:
        raise InvalidInputError(f"top_k is at least 1, or None for all, got {top_k}")
    (config,) = yield [messages.model_config(model)]
    labels, most = image_labels(config), max(1, config.max_batch_size)
    places: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.shape, []).append(place)
    batches = [same[start : start + most] for same in places.values() for start in range(0, len(same), most)]
    answers = yield (
        messages.infer(model, {"image": np.stack([images[i] for i in batch])}, outputs=["class_probabilities"])
        for batch in batches
    )
    found: dict[int, list[ImageClass]] = {}
    for batch, answer in zip(batches, answers, strict=True):
        likely = _probabilities(answer, model, (len(batch), len(labels)))
        for place, row in zip(batch, likely, strict=True):
            order = np.argsort(-row, kind="stable")[:top_k]
            found[place] = [ImageClass(labels[i], float(row[i])) for i in order]
    return [found[place] for place in range(len(images))]


def image_labels(config: ModelConfig) -> list[str]:
    """The names of a model's classes.

    Raises:
        UnexpectedReplyError: it does not classify images.
    """
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


def _probabilities(answer: dict[str, np.ndarray], model: str, shape: tuple[int, ...]) -> np.ndarray:
    got = answer.get("class_probabilities")
    if got is None or got.dtype != np.float32 or got.shape != shape or not np.isfinite(got).all():
        raise UnexpectedReplyError(
            f"model {model!r} did not answer with finite float32 {list(shape)} as 'class_probabilities'"
        )
    return got
