"""R-FCN's metrics at every station: VOC's and COCO's mean average precision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from neurips16.clients import Client
from neurips16.clients.tasks.detect.calls import detect_all, detection_labels
from neurips16.export.errors import EvaluationError
from neurips16.export.ops import library_path
from neurips16.export.registry import Station
from neurips16.export.session import make_session
from neurips16.export.spec import read_spec
from neurips16.training.data.detection.reader import read_detection_set, read_image
from neurips16.training.metrics.detection import Found, detection_metrics
from neurips16.training.system import load_module
from neurips16.training.systems.rfcn.network import RFCN

OPTIONS = {"sample": "measure on so many pictures of the split, evenly spaced, instead of all"}
Detect = Callable[[np.ndarray], Found]


def evaluate(station: Station, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """Measure a station on a data set in VOC's or COCO's layout.

    Args:
        station: a checkpoint, an exported model or a server.
        data: the data set's folder.
        split: as the data set names it, or "all".
        options: see `OPTIONS`.

    Returns:
        ``images``, ``boxes`` (annotated, those to be ignored not counted), ``dropped`` (annotations without width or
        height), ``map_50``, ``map_50_11``, ``map`` and ``ap_50_CLASS``.

    Raises:
        EvaluationError: an option's value cannot be used, or there is no such station.
    """
    with _detector(station) as (detect, classes):
        found = read_detection_set(data, split, classes)
        pictures = list(found.pictures)
        if "sample" in options:
            pictures = [pictures[i] for i in _spread(len(pictures), options["sample"])]
        answers = [detect(read_image(picture.path)) for picture in pictures]
    return {
        "images": len(pictures),
        "boxes": sum(int((~picture.ignored).sum()) for picture in pictures),
        "dropped": found.dropped,
        **detection_metrics(pictures, answers, classes),
    }


def _spread(length: int, text: str) -> np.ndarray:
    if not text.strip().isdecimal() or int(text) < 1:
        raise EvaluationError(f"--sample: expected a number over 0, got {text!r}")
    return np.unique(np.linspace(0, length - 1, min(length, int(text))).round().astype(int))


@contextmanager
def _detector(station: Station) -> Iterator[tuple[Detect, list[str]]]:
    """How the station detects on an image, and the names of its classes."""
    if station.checkpoint is not None:
        network = load_module(station.checkpoint, "rfcn")
        assert isinstance(network, RFCN)
        yield network.detect, network.hparams.classes
    elif station.model is not None:
        yield _exported(station.model), json.loads(read_spec(station.model).parameters["labels"])
    elif station.url is not None:
        with Client(station.url) as client:
            labels = list(client.run(detection_labels()))
            yield _served(client, labels), labels
    else:
        raise EvaluationError(
            f"rfcn has no baselines, got {station.baseline!r}: name a checkpoint, a model or a server"
        )


def _exported(path: Path) -> Detect:
    session = make_session(path, intra_op_threads=0, op_library=library_path())

    def detect(image: np.ndarray) -> Found:
        count, boxes, scores, classes = session.run(None, {"image": image[None]})
        kept = slice(int(count[0, 0]))
        return Found(boxes[0, kept], scores[0, kept], classes[0, kept])

    return detect


def _served(client: Client, labels: list[str]) -> Detect:
    def detect(image: np.ndarray) -> Found:
        (detections,) = client.run(detect_all([image], min_score=0.0))
        return Found(
            np.array([d.box for d in detections], np.float32).reshape(-1, 4),
            np.array([d.score for d in detections], np.float32),
            np.array([labels.index(d.label) for d in detections], np.int64),
        )

    return detect
