from __future__ import annotations

import pytest
import torch

from neurips16.training.ops.non_max_suppression import areas, iou_matrix
from neurips16.training.systems.rfcn.boxes import clip, decode, encode
from neurips16.training.systems.rfcn.region_proposals import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    RegionProposals,
    cell_anchors,
    sample,
)

# papers.md, section 2: the authors' nine anchors at cell 0, pixels from 1 with both ends inside.
PUBLISHED = [
    (-83, -39, 100, 56),
    (-175, -87, 192, 104),
    (-359, -183, 376, 200),
    (-55, -55, 72, 72),
    (-119, -119, 136, 136),
    (-247, -247, 264, 264),
    (-35, -79, 52, 96),
    (-79, -167, 96, 184),
    (-167, -343, 184, 360),
]


def test_the_published_anchors():
    edges = [(x0 - 1, y0 - 1, x1, y1) for x0, y0, x1, y1 in PUBLISHED]
    assert cell_anchors((8, 16, 32), (0.5, 1, 2)).tolist() == [list(map(float, edge)) for edge in edges]


def test_overlaps():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 9]])
    want = torch.eye(4)
    want[0, 1] = want[1, 0] = 50 / 150
    want[3, 3] = 0  # nothing overlaps a box without width
    torch.testing.assert_close(iou_matrix(boxes, boxes), want)
    assert areas(boxes).tolist() == [100, 100, 100, 0]


def test_decode_is_the_inverse_of_encode():
    torch.manual_seed(0)
    low, size = torch.rand(50, 2) * 100, torch.rand(50, 2) * 60 + 1
    boxes = torch.cat([low, low + size], dim=1)
    references = boxes.roll(1, 0)
    torch.testing.assert_close(decode(encode(boxes, references), references), boxes, rtol=1e-4, atol=1e-3)
    assert torch.equal(encode(boxes, boxes), torch.zeros(50, 4))
    # A shift by a tenth of the width and a scale of e are 1 and 5 after division by their deviations.
    got = encode(torch.tensor([[1.0, 0, 11, 10]]), torch.tensor([[0.0, 0, 10, 10]]))
    torch.testing.assert_close(got, torch.tensor([[1.0, 0, 0, 0]]))


def test_clip_to_the_image():
    boxes = torch.tensor([[[-5.0, -5, 50, 50], [10, 10, 20, 20]]])
    assert clip(boxes, torch.tensor([[30.0, 40]])).tolist() == [[[0, 0, 40, 30], [10, 10, 20, 20]]]


@pytest.fixture
def rpn():
    torch.manual_seed(0)
    return RegionProposals(8, 8, scales=(2, 4), before_nms=40, after_nms=10, min_size=8)


def test_anchors_follow_the_map(rpn):
    logits, deltas, anchors = rpn(torch.rand(2, 8, 3, 5))
    assert logits.shape == (2, 3 * 5 * 6, 2)
    assert deltas.shape == (2, 90, 4)
    assert torch.equal(anchors[:6], rpn.cell)
    assert torch.equal(anchors[6:12], rpn.cell + torch.tensor([16.0, 0, 16, 0]))
    assert torch.equal(anchors[30:36], rpn.cell + torch.tensor([0.0, 16, 0, 16]))


def test_an_anchor_s_score_stands_at_its_place(rpn):
    """The best logit decides the first proposal, which is its anchor where the deltas are zero."""
    _, _, anchors = rpn(torch.rand(1, 8, 6, 6))
    logits, deltas = torch.zeros(1, len(anchors), 2), torch.zeros(1, len(anchors), 4)
    place = 6 * (6 * 3 + 3) + 2  # row 3, column 3, the third anchor
    logits[0, place, 1] = 5
    size = torch.tensor([[96.0, 96]])
    found = rpn.proposals(logits, deltas, anchors, size, torch.ones(1, 2))
    assert torch.equal(found.boxes[0, 0], clip(anchors[None, place : place + 1], size)[0, 0])
    overlap = iou_matrix(found.boxes[0], found.boxes[0]).fill_diagonal_(0)[found.valid[0]][:, found.valid[0]]
    assert overlap.max() <= 0.7


def test_a_map_with_fewer_places_than_proposals(rpn):
    logits, deltas, anchors = rpn(torch.rand(1, 8, 1, 1))
    found = rpn.proposals(logits, deltas, anchors, torch.tensor([[16.0, 16]]), torch.ones(1, 2))
    assert found.boxes.shape == (1, 10, 4)
    assert 1 <= found.valid.sum() <= 6
    small = rpn.proposals(logits, deltas, anchors, torch.tensor([[16.0, 16]]), torch.full((1, 2), 2.5))
    assert not small.valid.any()  # 16 pixels here are 6.4 of the input: below the least size


def test_targets(rpn):
    anchors = torch.tensor(
        [[0.0, 0, 32, 32], [0, 0, 32, 20], [40, 40, 72, 72], [44, 40, 76, 72], [-20, 0, 12, 32], [60, 60, 70, 70]]
    )
    boxes = torch.tensor([[0.0, 0, 32, 32], [48, 30, 80, 62]])
    labels, matched = rpn.targets(anchors, torch.tensor([80.0, 80]), boxes)
    assert labels.tolist() == [POSITIVE, IGNORED, IGNORED, POSITIVE, IGNORED, NEGATIVE]
    assert matched[[0, 3]].tolist() == [0, 1]
    labels, _ = rpn.targets(anchors, torch.tensor([80.0, 80]), boxes[:0])
    assert labels.tolist() == [NEGATIVE] * 4 + [IGNORED, NEGATIVE]


def test_at_most_256_anchors_are_trained_on_half_of_them_positive(rpn):
    anchors = torch.tensor([[0.0, 0, 16, 16], [40, 40, 56, 56]]).repeat_interleave(400, 0)
    labels, _ = rpn.targets(anchors, torch.tensor([64.0, 64]), torch.tensor([[0.0, 0, 16, 16]]))
    assert [int((labels == kind).sum()) for kind in (POSITIVE, NEGATIVE)] == [128, 128]


def test_the_loss_falls_to_nothing_for_right_answers(rpn):
    _, _, anchors = rpn(torch.rand(1, 8, 6, 6))
    boxes = torch.tensor([[30.0, 30, 64, 62]])
    size = torch.tensor([[96.0, 96]])
    overlap = iou_matrix(anchors, boxes)[:, 0]
    logits = torch.stack([torch.zeros_like(overlap), (overlap >= 0.4).float() * 40 - 20], dim=1)[None]
    deltas = encode(boxes.expand(len(anchors), 4), anchors)[None]
    classes, regression = rpn.loss(logits, deltas, anchors, size, [boxes])
    assert classes < 1e-3
    assert regression < 1e-6
    classes, regression = rpn.loss(-logits, deltas + 1, anchors, size, [boxes])
    assert classes > 5
    assert regression > 1e-3


def test_sample_takes_only_candidates():
    chosen = sample(torch.tensor([True, False, True, True]), 2)
    assert len(chosen) == 2
    assert set(chosen.tolist()) <= {0, 2, 3}
