"""R-FCN's metrics: VOC's and COCO's mean average precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neurips16.export.ops import library_path
from neurips16.export.options import positive_integer, spread
from neurips16.export.registry import Target
from neurips16.export.station import Station, open_station
from neurips16.export.systems.rfcn.models import MODEL, models
from neurips16.training.data.detection.reader import Picture, read_detection_set, read_image
from neurips16.training.metrics.detection import Found, detection_metrics

OPTIONS = {"sample": "measure on so many pictures of the split, evenly spaced, instead of all"}


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """Measure a target on a data set in VOC's or COCO's layout.

    Args:
        target: a checkpoint, an exported model or a server.
        data: the data set's folder.
        split: as the data set names it, or "all".
        options: see `OPTIONS`.

    Returns:
        ``images``, ``boxes`` (annotated, those to be ignored not counted), ``dropped`` (annotations without width or
        height), ``map_50``, ``map_50_11``, ``map`` and ``ap_50_CLASS``.

    Raises:
        EvaluationError: an option's value cannot be used, or the target is a baseline.
    """
    with open_station(target, "rfcn", MODEL, models, op_library=library_path()) as model:
        classes = list(model.labels)
        found = read_detection_set(data, split, classes)
        pictures = list(found.pictures)
        if "sample" in options:
            pictures = [pictures[i] for i in spread(len(pictures), positive_integer(options, "sample"))]
        answers = [_detected(model, picture) for picture in pictures]
    return {
        "images": len(pictures),
        "boxes": sum(int((~picture.ignored).sum()) for picture in pictures),
        "dropped": found.dropped,
        **detection_metrics(pictures, answers, classes),
    }


def _detected(model: Station, picture: Picture) -> Found:
    answer = model.ask({"image": read_image(picture.path)[None]})
    kept = slice(int(answer["num_detections"][0, 0]))
    return Found(*(answer[f"detection_{name}"][0, kept] for name in ("boxes", "scores", "classes")))
