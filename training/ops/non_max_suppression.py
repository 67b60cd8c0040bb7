"""Greedy non-maximum suppression, as ``neurips16::non_max_suppression``: ONNX's operator with a mask for an answer.

Boxes are taken from the highest score down; a box is kept if its score is above the threshold and it overlaps no box
that was kept before it by more than the other threshold. The exported graph computes it with the standard operator
NonMaxSuppression, whose list of selected boxes is turned into the mask; a mask has a shape that is known beforehand.
"""

from __future__ import annotations

import torch
from torch import Tensor


def areas(boxes: Tensor) -> Tensor:
    """[..., 4] to [...]; 0 where a box has no width or height."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def iou_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of each pair, [..., A, 4] and [..., B, 4] to [..., A, B]; 0 where nothing overlaps."""
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(dim=-1)
    union = areas(first)[..., :, None] + areas(second)[..., None, :] - intersection
    return torch.where(intersection > 0, intersection / union, torch.zeros_like(intersection))


def non_max_suppression(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float) -> Tensor:
    """Which boxes are kept, for each class by itself.

    Args:
        boxes: [N, B, 4] as edges (x0, y0, x1, y1).
        scores: [N, C, B]; of two equal ones the first is taken first.
        iou_threshold: a box that overlaps a kept one by more is dropped.
        score_threshold: a box must have more than this.

    Returns:
        bool [N, C, B].

    Raises:
        ValueError: the shapes do not belong together.
    """
    return _non_max_suppression(boxes, scores, iou_threshold, score_threshold)


@torch.library.custom_op("neurips16::non_max_suppression", mutates_args=())
def _non_max_suppression(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float) -> Tensor:
    _check_shapes(boxes, scores)
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for n in range(scores.shape[0]):
        for c in range(scores.shape[1]):
            candidates = (scores[n, c] > score_threshold).nonzero()[:, 0]
            order = candidates[scores[n, c, candidates].argsort(descending=True, stable=True)]
            keep[n, c, order[_greedy(boxes[n, order], iou_threshold)]] = True
    return keep


@_non_max_suppression.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float) -> Tensor:
    _check_shapes(boxes, scores)
    return torch.empty_like(scores, dtype=torch.bool)


def _greedy(boxes: Tensor, iou_threshold: float) -> Tensor:
    """Boxes [B, 4], the best first, to which are kept, bool [B].

    What the greedy rule says of a box depends on earlier boxes only, so "kept = overlaps no earlier kept box" has one
    solution, and repeating it from any start reaches that after as many rounds as the longest chain of overlaps has.
    """
    suppresses = (iou_matrix(boxes, boxes) > iou_threshold).triu(1).float()  # [earlier, later]
    keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        renewed = keep.float() @ suppresses == 0
        if torch.equal(renewed, keep):
            return keep
        keep = renewed


def _check_shapes(boxes: Tensor, scores: Tensor) -> None:
    if boxes.dim() != 3 or scores.dim() != 3 or boxes.shape[2] != 4:
        raise ValueError(f"boxes are [N, B, 4] and scores [N, C, B], got {list(boxes.shape)} and {list(scores.shape)}")
