"""How well objects are found: PASCAL VOC's average precision, and COCO's through pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neurips16.training.data.detection.reader import Picture

VOC_IOU = 0.5
RECALL_POINTS = np.linspace(0, 1, 11)  # of VOC's metric until 2009


class Found(NamedTuple):
    """What a detector says of one picture."""

    boxes: np.ndarray  # float32 [D, 4], edges in pixels
    scores: np.ndarray  # float32 [D]
    labels: np.ndarray  # int [D], numbers of classes from 0


def detection_metrics(pictures: Sequence[Picture], found: Sequence[Found], classes: Sequence[str]) -> dict[str, float]:
    """All metrics of a detector.

    Args:
        pictures: with the true boxes.
        found: the answer for each picture.
        classes: names in the order of the labels.

    Returns:
        ``map_50``: VOC's mean average precision at an overlap of 0.5, by the area under the curve; ``map_50_11``: the
        same by its 11 points; ``map``: COCO's, the mean over overlaps 0.5 to 0.95; and ``ap_50_CLASS``, by area. A
        class that is on no picture counts in none of them.
    """
    curves = {name: precision_recall(pictures, found, label) for label, name in enumerate(classes)}
    there = {name: curve for name, curve in curves.items() if curve is not None}
    by_area = {name: area_under(*curve) for name, curve in there.items()}
    return {
        "map_50": float(np.mean(list(by_area.values()))) if by_area else 0.0,
        "map_50_11": float(np.mean([eleven_points(*curve) for curve in there.values()])) if there else 0.0,
        "map": coco_map(pictures, found, classes),
        **{f"ap_50_{name}": value for name, value in by_area.items()},
    }


def precision_recall(
    pictures: Sequence[Picture], found: Sequence[Found], label: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Precision and recall of a class after each detection, the surest first; None where no picture has the class.

    A detection is right if it overlaps a box of its class by half, and that box was not found before. One that falls on
    a box that is marked to be ignored counts neither way.
    """
    total = sum(int(((p.labels == label) & ~p.ignored).sum()) for p in pictures)
    if total == 0:
        return None
    scores, right = [], []
    for picture, answer in zip(pictures, found, strict=True):
        of_class = picture.labels == label
        boxes, ignored = picture.boxes[of_class], picture.ignored[of_class]
        mine = np.flatnonzero(answer.labels == label)
        mine = mine[np.argsort(-answer.scores[mine], kind="stable")]
        taken = np.zeros(len(boxes), bool)
        for i, overlap in zip(mine, overlaps(answer.boxes[mine], boxes), strict=True):
            best = int(overlap.argmax()) if len(boxes) else -1
            hit = best >= 0 and overlap[best] >= VOC_IOU
            if hit and ignored[best]:
                continue
            scores.append(answer.scores[i])
            right.append(hit and not taken[best])
            if hit:
                taken[best] = True
    order = np.argsort(-np.array(scores), kind="stable")
    hits = np.cumsum(np.array(right, float)[order])
    return hits / np.arange(1, len(hits) + 1), hits / total


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union, [A, 4] and [B, 4] to [A, B]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = (high - low).clip(min=0).prod(axis=2)
    area = (first[:, 2:] - first[:, :2]).prod(axis=1)[:, None] + (second[:, 2:] - second[:, :2]).prod(axis=1)
    return intersection / np.maximum(area - intersection, 1e-9)


def area_under(precision: np.ndarray, recall: np.ndarray) -> float:
    """Average precision as VOC has it since 2010: the area under the curve, made to fall only."""
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best_from_here).sum())


def eleven_points(precision: np.ndarray, recall: np.ndarray) -> float:
    """Average precision as VOC had it until 2009: the mean of the best precision at 11 recalls and beyond."""
    return float(np.mean([precision[recall >= point].max(initial=0.0) for point in RECALL_POINTS]))


def coco_map(pictures: Sequence[Picture], found: Sequence[Found], classes: Sequence[str]) -> float:
    """COCO's mean average precision: over overlaps 0.5 to 0.95, at most 100 detections of a picture."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    boxes = [
        {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "area": float(_xywh(box)[2] * _xywh(box)[3])}
        | {"iscrowd": int(ignored)}
        for i, picture in enumerate(pictures)
        for box, label, ignored in zip(picture.boxes, picture.labels, picture.ignored, strict=True)
    ]
    answers = [
        {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "score": float(score)}
        for i, answer in enumerate(found)
        for box, score, label in zip(*answer, strict=True)
    ]
    if not boxes or not answers:
        return 0.0
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(len(pictures))],
        "categories": [{"id": label, "name": name} for label, name in enumerate(classes)],
        "annotations": [{"id": i, **box} for i, box in enumerate(boxes, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return max(0.0, float(evaluation.stats[0]))  # -1: no box counts


def _xywh(box: np.ndarray) -> list[float]:
    x0, y0, x1, y1 = map(float, box)
    return [x0, y0, x1 - x0, y1 - y0]
