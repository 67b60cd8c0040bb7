from __future__ import annotations

import pytest
import torch

from neurips16.training.ops import non_max_suppression
from neurips16.training.ops.non_max_suppression import iou_matrix


def greedy(boxes, scores, iou_threshold, score_threshold):
    """The rule as it is written, for one class: [B, 4] and [B] to bool [B]."""
    kept: list[int] = []
    overlap = iou_matrix(boxes, boxes)
    for i in sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i)):
        if scores[i] > score_threshold and all(overlap[i, j] <= iou_threshold for j in kept):
            kept.append(i)
    return torch.tensor([i in kept for i in range(len(scores))])


@pytest.mark.parametrize("seed", range(4))
def test_as_the_rule_is_written(seed):
    torch.manual_seed(seed)
    low = torch.rand(2, 80, 2) * 50
    boxes = torch.cat([low, low + torch.rand(2, 80, 2) * 40], dim=2)
    scores = (torch.randn(2, 3, 80) * 4).round() / 4  # many are equal
    got = non_max_suppression(boxes, scores, 0.4, -0.3)
    for n in range(2):
        for c in range(3):
            assert torch.equal(got[n, c], greedy(boxes[n], scores[n, c], 0.4, -0.3))


def test_a_chain_of_overlaps():
    """Each box overlaps the next: every second one is kept, however long the chain."""
    left = torch.arange(60.0)[:, None] * 5
    boxes = torch.cat([left, torch.zeros(60, 1), left + 10, torch.full((60, 1), 10.0)], dim=1)[None]
    keep = non_max_suppression(boxes, -torch.arange(60.0)[None, None], 0.3, -100.0)
    assert keep[0, 0].tolist() == [i % 2 == 0 for i in range(60)]


def test_nothing_above_the_threshold():
    assert not non_max_suppression(torch.zeros(1, 5, 4), torch.zeros(1, 2, 5), 0.5, 0.0).any()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"got \[5, 4\] and \[1, 1, 5\]"):
        non_max_suppression(torch.zeros(5, 4), torch.zeros(1, 1, 5), 0.5, 0.0)


def test_operator_is_sound():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10]]])
    torch.library.opcheck(
        torch.ops.neurips16.non_max_suppression.default, (boxes, torch.tensor([[[0.9, 0.8]]]), 0.5, 0.0)
    )
