from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurips16.training.data.detection.reader import Picture
from neurips16.training.metrics.detection import (
    Found,
    area_under,
    coco_map,
    detection_metrics,
    eleven_points,
    overlaps,
    precision_recall,
)


def picture(*rows, ignored=()):
    """Rows of (label, x0, y0, x1, y1)."""
    array = np.array(rows, np.float32).reshape(-1, 5)
    flags = np.isin(np.arange(len(array)), ignored)
    return Picture(Path("none"), array[:, 1:], array[:, 0].astype(np.int64), flags)


def answer(*rows):
    """Rows of (label, score, x0, y0, x1, y1)."""
    array = np.array(rows, np.float32).reshape(-1, 6)
    return Found(array[:, 2:], array[:, 1], array[:, 0].astype(np.int64))


def test_all_right():
    pictures = [picture((0, 0, 0, 10, 10), (1, 20, 20, 40, 40)), picture((0, 5, 5, 25, 25))]
    found = [answer((0, 0.9, 0, 0, 10, 10), (1, 0.8, 20, 20, 40, 40)), answer((0, 0.7, 5, 5, 25, 25))]
    metrics = detection_metrics(pictures, found, ["a", "b", "on no picture"])
    assert metrics == pytest.approx({"map_50": 1, "map_50_11": 1, "map": 1, "ap_50_a": 1, "ap_50_b": 1})


def test_a_worked_curve():
    """Right, wrong, right of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    pictures = [picture((0, 0, 0, 10, 10), (0, 20, 0, 30, 10), (0, 40, 0, 50, 10))]
    found = [answer((0, 0.5, 20, 0, 30, 10), (0, 0.9, 0, 0, 10, 10), (0, 0.7, 70, 0, 80, 10))]
    precision, recall = precision_recall(pictures, found, 0)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 3, 1 / 3, 2 / 3])
    assert area_under(precision, recall) == pytest.approx(1 / 3 + 2 / 9)
    assert eleven_points(precision, recall) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)


def test_an_object_is_found_once_and_half_an_overlap_is_enough():
    pictures = [picture((0, 0, 0, 10, 10))]
    twice = [answer((0, 0.9, 0, 0, 10, 10), (0, 0.8, 0, 0, 10, 10))]
    np.testing.assert_allclose(precision_recall(pictures, twice, 0)[0], [1, 1 / 2])
    half = [answer((0, 0.9, 0, 0, 10, 20))]
    np.testing.assert_allclose(precision_recall(pictures, half, 0)[0], [1])
    less = [answer((0, 0.9, 0, 0, 10, 20.1))]
    np.testing.assert_allclose(precision_recall(pictures, less, 0)[0], [0])


def test_what_is_to_be_ignored_counts_neither_way():
    pictures = [picture((0, 0, 0, 10, 10), (0, 20, 0, 30, 10), ignored=[1])]
    found = [answer((0, 0.9, 20, 0, 30, 10), (0, 0.8, 0, 0, 10, 10))]
    precision, recall = precision_recall(pictures, found, 0)
    assert (precision.tolist(), recall.tolist()) == ([1], [1])
    only_ignored = [picture((0, 0, 0, 10, 10), ignored=[0])]
    assert precision_recall(only_ignored, [answer()], 0) is None


def test_nothing_found():
    pictures = [picture((0, 0, 0, 10, 10))]
    metrics = detection_metrics(pictures, [answer()], ["a"])
    assert metrics == {"map_50": 0, "map_50_11": 0, "map": 0, "ap_50_a": 0}


def test_coco_s_metric_asks_for_closer_boxes():
    """An overlap of 0.72 is right at 0.5, 0.55, 0.6, 0.65 and 0.7 of the ten."""
    pictures = [picture((0, 0, 0, 100, 100))]
    found = [answer((0, 0.9, 0, 0, 72, 100))]
    assert overlaps(found[0].boxes, pictures[0].boxes)[0, 0] == pytest.approx(0.72)
    assert coco_map(pictures, found, ["a"]) == pytest.approx(0.5)
