"""The region proposal network of Faster R-CNN, on conv4 as R-FCN has it: anchors, targets, loss and proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.ops import non_max_suppression
from neurips16.training.ops.non_max_suppression import iou_matrix
from neurips16.training.systems.rfcn.boxes import clip, decode, encode

BASE_SIZE = 16  # pixels: the anchor of scale 1, and the stride
NEGATIVE, IGNORED, POSITIVE = 0, -1, 1
POSITIVE_IOU, NEGATIVE_IOU = 0.7, 0.3
ANCHORS_PER_IMAGE = 256  # that the loss is taken over, at most half of them positive
SMOOTH_L1_BETA = 1 / 9  # sigma 3 of py-faster-rcnn's RPN
NOTHING = -1e30  # the score of what is no proposal


class Proposals(NamedTuple):
    """The boxes that are worth a second look, the best first."""

    boxes: Tensor  # [N, R, 4] in pixels of the resized image
    valid: Tensor  # bool [N, R]; what is not valid only fills up


def start_small(layer: nn.Conv2d) -> None:
    """Weights ~ N(0, 0.01²), biases 0: how the layers begin that have no pretrained weights."""
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class RegionProposals(nn.Module):
    """Scores and refines anchors at each place of a map of stride 16.

    Args:
        channels: of the map.
        hidden: of the 3x3 convolution, 512 in the paper.
        scales, ratios: of the anchors; a scale is in units of 16 pixels, a ratio is height over width.
        before_nms, after_nms: how many proposals of an image are kept before and after suppression.
        iou_threshold: of the suppression.
        min_size: the least width and height of a proposal, in pixels of the input image.
        border: how far an anchor may reach over the image's edge and still be trained on, in pixels.
    """

    cell: Tensor  # the anchors of one place, [A, 4]

    def __init__(
        self,
        channels: int,
        hidden: int = 512,
        scales: Sequence[float] = (8, 16, 32),
        ratios: Sequence[float] = (0.5, 1, 2),
        before_nms: int = 6000,
        after_nms: int = 300,
        iou_threshold: float = 0.7,
        min_size: float = 16.0,
        border: float = 0.0,
    ):
        super().__init__()
        self.before_nms, self.after_nms, self.iou_threshold = before_nms, after_nms, iou_threshold
        self.min_size, self.border = min_size, border
        self.register_buffer("cell", cell_anchors(scales, ratios), persistent=False)
        anchors = len(self.cell)
        self.hidden = nn.Conv2d(channels, hidden, 3, padding=1)
        self.objectness = nn.Conv2d(hidden, 2 * anchors, 1)
        self.deltas = nn.Conv2d(hidden, 4 * anchors, 1)
        for layer in (self.hidden, self.objectness, self.deltas):
            start_small(layer)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map [N, C, H, W] to logits [N, P, 2] (background, object), deltas [N, P, 4] and anchors [P, 4]; P = H·W·A."""
        x = F.relu(self.hidden(features))
        logits = self.objectness(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 2)
        deltas = self.deltas(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4)
        return logits, deltas, self.anchors(features)

    def anchors(self, features: Tensor) -> Tensor:
        """The anchors of every place of a map, [H·W·A, 4], row by row."""
        height, width = features.shape[-2:]
        y = torch.arange(height, device=features.device, dtype=torch.float32) * BASE_SIZE
        x = torch.arange(width, device=features.device, dtype=torch.float32) * BASE_SIZE
        low = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)  # [H, W, 2]
        return (low.repeat(1, 1, 2)[:, :, None] + self.cell).reshape(-1, 4)

    @torch.no_grad()
    def proposals(self, logits: Tensor, deltas: Tensor, anchors: Tensor, sizes: Tensor, scales: Tensor) -> Proposals:
        """What `forward` says, as boxes.

        Args:
            logits: of `forward`.
            deltas: of `forward`.
            anchors: of `forward`.
            sizes: (height, width) of each resized image, float [N, 2].
            scales: resized over input size, along (height, width), float [N, 2].
        """
        # The difference of the logits orders as the softmax does, and does not saturate.
        scores = logits[..., 1] - logits[..., 0]
        # A map may have fewer places than proposals are wanted.
        scores = F.pad(scores, (0, self.before_nms), value=NOTHING)
        scores, best = scores.topk(self.before_nms, dim=1)
        deltas = _rows(F.pad(deltas, (0, 0, 0, self.before_nms)), best)
        anchors = F.pad(anchors, (0, 0, 0, self.before_nms))[best]
        boxes = clip(decode(deltas, anchors), sizes)
        min_sides = self.min_size * scales.flip(-1)[:, None]  # [N, 1, 2] as width, height
        large = (boxes[..., 2:] - boxes[..., :2] >= min_sides).all(dim=-1)
        scores = torch.where(large, scores, NOTHING)
        keep = non_max_suppression(boxes, scores[:, None], self.iou_threshold, 0.5 * NOTHING)[:, 0]
        scores, best = torch.where(keep, scores, NOTHING).topk(self.after_nms, dim=1)
        return Proposals(_rows(boxes, best), scores > 0.5 * NOTHING)

    def loss(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, sizes: Tensor, truth: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The classification and the box loss over at most 256 anchors of each image, the mean over images.

        Args:
            logits: of `forward`.
            deltas: of `forward`.
            anchors: of `forward`.
            sizes: (height, width) of each resized image, float [N, 2].
            truth: the objects' boxes of each image, [G, 4] each.
        """
        classification, regression = logits.new_zeros(()), logits.new_zeros(())
        for i, boxes in enumerate(truth):
            labels, matched = self.targets(anchors, sizes[i], boxes)
            chosen = (labels != IGNORED).nonzero()[:, 0]
            positive = chosen[labels[chosen] == POSITIVE]
            count = max(1, len(chosen))
            classification = (
                classification + F.cross_entropy(logits[i, chosen], labels[chosen], reduction="sum") / count
            )
            if len(positive):
                wanted = encode(boxes[matched[positive]], anchors[positive])
                error = F.smooth_l1_loss(deltas[i, positive], wanted, reduction="sum", beta=SMOOTH_L1_BETA)
                regression = regression + error / count
        return classification / len(truth), regression / len(truth)

    @torch.no_grad()
    def targets(self, anchors: Tensor, size: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """For each anchor POSITIVE, NEGATIVE or IGNORED, int64 [P], and the number of the box that it matches, [P].

        Positive is an anchor that overlaps a box by 0.7 at least, or that no other one overlaps a box better than;
        negative is one below 0.3 with every box. Of both, only a random sample of 256 is not ignored.
        """
        labels = torch.full((len(anchors),), IGNORED, device=anchors.device)
        low, high = anchors[:, :2], anchors[:, 2:] - size.flip(0)
        inside = ((low >= -self.border) & (high <= self.border)).all(dim=1)
        if not len(boxes):
            matched = torch.zeros_like(labels)
            labels[inside] = NEGATIVE
        else:
            overlap = iou_matrix(anchors, boxes) * inside[:, None]
            best, matched = overlap.max(dim=1)
            labels[inside & (best < NEGATIVE_IOU)] = NEGATIVE
            best_of_box = overlap.amax(dim=0)
            labels[((overlap == best_of_box) & (best_of_box > 0)).any(dim=1)] = POSITIVE
            labels[inside & (best >= POSITIVE_IOU)] = POSITIVE
        positives = sample(labels == POSITIVE, ANCHORS_PER_IMAGE // 2)
        negatives = sample(labels == NEGATIVE, ANCHORS_PER_IMAGE - len(positives))
        labels = torch.full_like(labels, IGNORED)
        labels[positives], labels[negatives] = POSITIVE, NEGATIVE
        return labels, matched


def cell_anchors(scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """The anchors at the first place of a map, [ratios · scales, 4]; widths are whole, as in the authors' code."""
    anchors = []
    for ratio in ratios:
        width = round((BASE_SIZE**2 / ratio) ** 0.5)
        height = round(width * ratio)
        for scale in scales:
            w, h = width * scale, height * scale
            anchors.append([(BASE_SIZE - w) / 2, (BASE_SIZE - h) / 2, (BASE_SIZE + w) / 2, (BASE_SIZE + h) / 2])
    return torch.tensor(anchors)


def sample(candidates: Tensor, count: int) -> Tensor:
    """The numbers of at most ``count`` of the candidates, bool [P], at random."""
    indices = candidates.nonzero()[:, 0]
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]


def _rows(values: Tensor, indices: Tensor) -> Tensor:
    """The rows of [N, P, D] with the numbers [N, R], as [N, R, D]."""
    return values.gather(1, indices[..., None].expand(-1, -1, values.shape[-1]))
