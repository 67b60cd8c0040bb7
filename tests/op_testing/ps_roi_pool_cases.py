"""PSRoIPool: a slow, readable reference in NumPy, and the inputs on which every definition is held against it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from op_tester import Case

F = np.float32

# papers.md's worked bins at spatial_scale 1/16: (first and last x of the RoI, k, columns [begin, end) of its bins).
WORKED_BINS = [
    (0, 31, 3, [(0, 1), (0, 2), (1, 2)]),
    (10, 200, 7, [(0, 3), (2, 5), (4, 6), (5, 8), (7, 10), (9, 11), (10, 13)]),
]


def round_half_away(x: float) -> float:
    """C's round."""
    return math.copysign(math.floor(abs(x)) + (abs(x) - math.floor(abs(x)) >= 0.5), x)


def bins(low: float, high: float, spatial_scale: float, k: int, limit: int) -> list[tuple[int, int]]:
    """[begin, end) of each bin along one axis, each step in float32 as in the authors' Caffe layer."""
    begin = F(round_half_away(low)) * F(spatial_scale)
    end = (F(round_half_away(high)) + F(1)) * F(spatial_scale)
    size = max(end - begin, F(0.1)) / F(k)
    edges = []
    for i in range(k):
        first = math.floor(F(i) * size + begin)
        last = math.ceil(F(i + 1) * size + begin)
        edges.append((min(max(first, 0), limit), min(max(last, 0), limit)))
    return edges


def reference(scores: np.ndarray, rois: np.ndarray, *, spatial_scale: float, group_size: int) -> np.ndarray:
    """scores [N, C*k*k, H, W], rois [R, 5] -> [R, C, k, k], one bin at a time."""
    k = group_size
    _, channels, height, width = scores.shape
    pooled = np.zeros((len(rois), channels // (k * k), k, k), np.float32)
    for r, (image, x0, y0, x1, y1) in enumerate(rois.tolist()):
        columns = bins(x0, x1, spatial_scale, k, width)
        rows = bins(y0, y1, spatial_scale, k, height)
        for c, i, j in np.ndindex(pooled.shape[1:]):
            (top, bottom), (left, right) = rows[i], columns[j]
            pixels = scores[int(image), (c * k + i) * k + j, top:bottom, left:right]
            if pixels.size:
                with np.errstate(invalid="ignore"):  # infinity minus infinity
                    pooled[r, c, i, j] = pixels.astype(np.float64).mean()
    return pooled


def _case(name: str, shape: tuple[int, ...], k: int, scale: float, rois: list | np.ndarray | None = None) -> Case:
    """Scores of ``shape`` [N, C, H, W] (C classes, before k*k) and RoIs: given, or random, some partly outside."""
    images, classes, height, width = shape
    random = np.random.default_rng([k, *shape])
    scores = random.normal(size=(images, classes * k * k, height, width)).astype(np.float32)
    if rois is None:
        size = np.array([width, height]) / scale  # pixels of the image
        low = random.uniform(-0.25, 1.1, (12, 2)) * size
        high = low + random.uniform(0, 1, (12, 2)) * size
        rois = np.column_stack([random.integers(images, size=12), low, high])
    inputs = {"scores": scores, "rois": np.array(rois, np.float32)}
    return Case(name, inputs, {"spatial_scale": scale, "group_size": k})


def _on_pixel_edges() -> Case:
    """Boxes that begin and end on multiples of 16: every edge falls on a pixel, where rounding shows."""
    random = np.random.default_rng(0)
    corners = random.integers(0, 20, (40, 2)) * 16
    rois = np.column_stack([np.zeros(40), corners, corners + random.integers(1, 12, (40, 2)) * 16 - 1])
    case = _case("edges_on_pixels", (1, 2, 20, 25), 7, 1 / 16, rois)
    return dataclasses.replace(case, needs_exact_division=True)


def _not_finite() -> Case:
    """NaN and both infinities in single pixels: the bins that hold them, and no others, are not finite."""
    case = _case("nan_and_infinity", (2, 2, 9, 13), 3, 1 / 8)
    scores = case.inputs["scores"]
    scores[0, 3, 4, 6] = np.nan
    scores[0, 7, 2, 2] = np.inf
    scores[1, 10, 5, 5] = np.inf
    scores[1, 10, 5, 6] = -np.inf
    scores[:, 4, 8, 12] = -np.inf  # the last pixel of a map
    scores[:, 17, :, :] = np.nan  # the last map
    return case


def _large_values() -> Case:
    """Values far apart in size: differences of running sums would lose the small ones."""
    case = _case("values_far_apart", (1, 1, 9, 13), 3, 1 / 8)
    case.inputs["scores"][:, :, ::3, ::4] *= 1e30
    return case


def _worked() -> Case:
    rois = np.array([[0, low, low, high, high] for low, high, k, _ in WORKED_BINS if k == 7])
    return _case("worked_bins", (1, 1, 20, 20), 7, 1 / 16, rois)


_DEGENERATE = [
    [0, 50, 40, 50, 40],
    [0, 50, 40, 20, 10],
    [0, 0, 0, -1, -1],
    [0, 127, 95, 127, 95],
    [0, 16, 16, 15, 15],
]
_OUT_OF_BOUNDS = [
    [0, -500, -500, -100, -100],
    [0, 900, 900, 990, 990],
    [0, -999, -999, 999, 999],
    [0, -1e9, -1e9, 1e9, 1e9],
]
_HALVES = [
    [0, 0.5, 1.5, 10.5, 11.5],
    [0, -0.5, -1.5, 2.5, 3.5],
    [0.9, 0.49999997, 0.5, 6.5, 7.4999995],  # the batch index is truncated too
    [-0.9, 1, 2, 3, 4],
]

CASES = [
    *(
        _case(f"n{n}_c{c}_{h}x{w}_k{k}_scale{scale:g}", (n, c, h, w), k, scale)
        for n, c, h, w, k, scale in [
            (1, 1, 1, 1, 1, 1 / 16),
            (1, 5, 9, 13, 1, 1 / 16),
            (2, 3, 9, 13, 3, 1 / 8),
            (3, 2, 12, 7, 2, 0.3),
            (2, 21, 12, 17, 7, 1 / 16),
            (1, 2, 3, 70, 4, 1.0),
            (1, 1, 40, 2, 5, 2.0),
        ]
    ),
    _worked(),
    _on_pixel_edges(),
    _not_finite(),
    _large_values(),
    _case("no_rois", (2, 3, 9, 13), 3, 1 / 8, np.zeros((0, 5))),
    _case("images_without_rois", (3, 2, 6, 8), 2, 1 / 8, [[2, 0, 0, 30, 30], [0, 9, 9, 40, 20], [2, 1, 2, 3, 4]]),
    _case("degenerate", (1, 2, 6, 8), 3, 1 / 16, _DEGENERATE),
    _case("out_of_bounds", (1, 2, 6, 8), 3, 1 / 16, _OUT_OF_BOUNDS),
    _case("halves", (1, 2, 12, 16), 3, 0.5, _HALVES),
]

# What every checking definition refuses: (batch of 2) x (RoI, what the message must name).
BAD_ROIS = [
    ([-1.0, 0, 0, 9, 9], "0..1"),
    ([2.0, 0, 0, 9, 9], "0..1"),
    ([np.nan, 0, 0, 9, 9], "finite"),
    ([0.0, np.nan, 0, 9, 9], "finite"),
    ([0.0, 0, 0, 9, np.inf], "finite"),
]
