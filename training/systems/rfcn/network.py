"""R-FCN (Dai, Li, He, Sun, NIPS 2016): object detection by region-based fully convolutional networks.

A residual network with a dilated last stage gives two maps. On conv4, region proposals. On conv5, after a 1x1
reduction, k·k·(C + 1) position-sensitive score maps and 4·k·k class-agnostic box maps (section 2). Each proposal is
pooled from them bin by bin, and the mean over the k·k bins is its vote: no layer with weights sees a single region.

Proposals and detector are trained together, on the proposals that are hardest at the moment (OHEM) or on a sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.detection.image_input import normalise_colours, resize_image
from neurips16.training.data.detection.module import DetectionBatch, DetectionData
from neurips16.training.data.detection.reader import Picture, read_image
from neurips16.training.metrics.detection import Found, detection_metrics
from neurips16.training.ops import non_max_suppression, ps_roi_pool
from neurips16.training.ops.non_max_suppression import iou_matrix
from neurips16.training.optimisation import scheduled
from neurips16.training.system import System, SystemModule
from neurips16.training.systems.rfcn.boxes import clip, decode, encode
from neurips16.training.systems.rfcn.region_proposals import Proposals, RegionProposals, sample, start_small
from neurips16.training.systems.rfcn.resnet import ResNet, load_imagenet_weights

MAX_DETECTIONS = 100  # of an image
FOREGROUND_IOU = 0.5
LOWEST_BACKGROUND_IOU = 0.1  # without OHEM; with it any region below 0.5 may be background
FOREGROUND_SHARE = 0.25  # of the sample, without OHEM
CLASS_NMS_IOU = 0.3


class PositionSensitiveHeads(nn.Module):
    """conv5 and regions to class logits and box deltas (section 2, "Position-sensitive score maps & RoI pooling").

    Args:
        channels: of conv5.
        reduced: of the 1x1 convolution in front of the maps, 1024 in the paper.
        classes: C, without the background.
        k: bins per side.
        stride: of conv5.
    """

    def __init__(self, channels: int, reduced: int, classes: int, k: int, stride: int):
        super().__init__()
        self.k, self.stride = k, stride
        self.reduction = nn.Conv2d(channels, reduced, 1)
        self.scores = nn.Conv2d(reduced, k * k * (classes + 1), 1)
        self.boxes = nn.Conv2d(reduced, k * k * 4, 1)
        for layer in (self.reduction, self.scores, self.boxes):
            start_small(layer)

    def forward(self, conv5: Tensor) -> tuple[Tensor, Tensor]:
        """conv5 [N, C5, H, W] to score maps [N, k·k·(C + 1), H, W] and box maps [N, k·k·4, H, W]."""
        x = F.relu(self.reduction(conv5))
        return self.scores(x), self.boxes(x)

    def vote(self, maps: tuple[Tensor, Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of `forward` and regions [N, R, 4] to logits [N, R, C + 1] and deltas [N, R, 4]."""
        images, regions = boxes.shape[:2]
        numbers = torch.arange(images, dtype=boxes.dtype, device=boxes.device)[:, None, None]
        # The pooling counts pixels: the last one inside is one before the edge.
        inclusive = boxes - boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
        rois = torch.cat([numbers.expand(images, regions, 1), inclusive], dim=2).reshape(-1, 5)
        votes = [ps_roi_pool(m, rois, 1 / self.stride, self.k).mean(dim=(2, 3)) for m in maps]
        return votes[0].reshape(images, regions, -1), votes[1].reshape(images, regions, 4)


class RFCN(SystemModule):
    """The whole detector with its losses and its optimiser.

    Args:
        classes: their names, without the background.
        shorter_side, longest_side: the resize rule outside training, in pixels (paper: 600, 1000).
        depth, width, norm, atrous, stride_in_1x1, frozen_stages: of the backbone, see `ResNet`.
        imagenet_weights: a state-dict file in torchvision's layout to start from; needs ``stride_in_1x1: false``.
        reduced: channels of the 1x1 reduction.
        k: bins per side of a region.
        rpn_hidden, anchor_scales, anchor_ratios, before_nms, proposals, min_size, anchor_border: see `RegionProposals`.
        ohem: train on the ``regions`` of an image with the highest losses, else on a sample of so many.
        regions: B, 128 in the paper.
        box_weight: lambda, of the box loss.
        min_score: below which nothing is reported.
        optimizer: "sgd" (the paper, momentum 0.9) or "adamw".
        learning_rate, weight_decay: of the optimiser.
        warmup_steps: over which the learning rate rises linearly from zero.
        milestones: steps at which it falls to a tenth.
        decay_steps: in place of milestones, the step at which it has fallen to zero along half a cosine; 0: not so.
    """

    system = "rfcn"

    def __init__(
        self,
        classes: Sequence[str],
        shorter_side: int = 600,
        longest_side: int = 1000,
        depth: int = 101,
        width: int = 64,
        norm: str = "frozen",
        atrous: bool = True,
        stride_in_1x1: bool = True,
        frozen_stages: int = 2,
        imagenet_weights: str | None = None,
        reduced: int = 1024,
        k: int = 7,
        rpn_hidden: int = 512,
        anchor_scales: Sequence[float] = (8, 16, 32),
        anchor_ratios: Sequence[float] = (0.5, 1, 2),
        before_nms: int = 6000,
        proposals: int = 300,
        min_size: float = 16.0,
        anchor_border: float = 0.0,
        ohem: bool = True,
        regions: int = 128,
        box_weight: float = 1.0,
        min_score: float = 0.01,
        optimizer: str = "sgd",
        learning_rate: float = 1e-3,
        weight_decay: float = 5e-4,
        warmup_steps: int = 0,
        milestones: Sequence[int] = (),
        decay_steps: int = 0,
    ):
        super().__init__()
        if optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer is 'sgd' or 'adamw', got {optimizer!r}")
        if imagenet_weights is not None and stride_in_1x1:
            raise ValueError(
                "torchvision's weights were trained with the stride in the 3x3: set stride_in_1x1 to false"
            )
        if len(classes) * proposals < MAX_DETECTIONS:
            raise ValueError(f"classes times proposals must reach {MAX_DETECTIONS}, got {len(classes)} x {proposals}")
        self.save_plain_hyperparameters()
        self.backbone = ResNet(
            depth, width, norm, atrous=atrous, stride_in_1x1=stride_in_1x1, frozen_stages=frozen_stages
        )
        self.rpn = RegionProposals(
            self.backbone.conv4_channels,
            rpn_hidden,
            anchor_scales,
            anchor_ratios,
            before_nms,
            proposals,
            min_size=min_size,
            border=anchor_border,
        )
        self.heads = PositionSensitiveHeads(
            self.backbone.conv5_channels, reduced, len(classes), k, self.backbone.conv5_stride
        )
        self._answers: list[tuple[Picture, Found]] = []

    # -- detection

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Detect objects on images as they are.

        Args:
            image: uint8 [N, H, W, 3], RGB, of any size.

        Returns:
            ``num_detections`` int32 [N, 1]; ``detection_boxes`` float32 [N, 100, 4], edges in pixels of the input;
            ``detection_scores`` float32 [N, 100], falling; ``detection_classes`` int32 [N, 100]. Zeros fill up.
        """
        pixels, scale = resize_image(image.permute(0, 3, 1, 2), self.hparams.shorter_side, self.hparams.longest_side)
        count = image.shape[0]
        size = torch.stack([torch.scalar_tensor(side, dtype=torch.float32) for side in pixels.shape[-2:]])
        size, scale = size.to(pixels.device).expand(count, 2), scale.to(pixels.device).expand(count, 2)
        conv4, conv5 = self.backbone(normalise_colours(pixels))
        rpn_logits, rpn_deltas, anchors = self.rpn(conv4)
        proposals = self.rpn.proposals(rpn_logits, rpn_deltas, anchors, size, scale)
        logits, deltas = self.heads.vote(self.heads(conv5), proposals.boxes)
        return self._detections(logits, clip(decode(deltas, proposals.boxes), size), proposals.valid, scale)

    @torch.no_grad()
    def detect(self, image: np.ndarray) -> Found:
        """What is on one image, uint8 [H, W, 3], in evaluation mode."""
        answer = self(torch.from_numpy(image[None].copy()).to(self.device))
        count = int(answer["num_detections"])
        names = ("detection_boxes", "detection_scores", "detection_classes")
        return Found(*(answer[name][0, :count].cpu().numpy() for name in names))

    def _detections(self, logits: Tensor, boxes: Tensor, valid: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """Logits [N, R, C + 1] and boxes [N, R, 4] of regions to what `forward` returns."""
        regions, low = boxes.shape[1], self.hparams.min_score
        scores = logits.softmax(dim=2)[:, :, 1:].transpose(1, 2)  # [N, C, R]
        scores = torch.where(valid[:, None], scores, -1.0)
        keep = non_max_suppression(boxes, scores, CLASS_NMS_IOU, low)
        # A stable sort: ONNX Runtime too takes the first of two equal ones first.
        scores, order = torch.where(keep, scores, -1.0).flatten(1).sort(dim=1, descending=True, stable=True)
        scores, order = scores[:, :MAX_DETECTIONS], order[:, :MAX_DETECTIONS]
        found = scores > low
        boxes = boxes.gather(1, (order % regions)[..., None].expand(-1, -1, 4)) / scale.flip(1).repeat(1, 2)[:, None]
        return {
            "num_detections": found.sum(dim=1, keepdim=True).int(),
            "detection_boxes": torch.where(found[..., None], boxes, 0.0),
            "detection_scores": torch.where(found, scores, 0.0),
            "detection_classes": torch.where(found, order // regions, 0).int(),
        }

    # -- training

    def setup(self, stage: str) -> None:
        """At the start of training, read the backbone's weights."""
        h = self.hparams
        if stage != "fit":
            return
        if h.imagenet_weights is not None:
            load_imagenet_weights(self.backbone, h.imagenet_weights)
        elif h.norm == "frozen" or h.frozen_stages:
            raise ValueError(
                "frozen norms and stages need weights: give --model.imagenet_weights FILE (a state-dict in "
                "torchvision's layout), or train from scratch with --model.norm batch --model.frozen_stages 0"
            )

    def losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """The four losses: of the proposals and of the regions, each for classes and for boxes."""
        conv4, conv5 = self.backbone(normalise_colours(batch.images))
        rpn_logits, rpn_deltas, anchors = self.rpn(conv4)
        rpn_class, rpn_box = self.rpn.loss(rpn_logits, rpn_deltas, anchors, batch.sizes, batch.boxes)
        proposals = self.rpn.proposals(rpn_logits, rpn_deltas, anchors, batch.sizes, batch.scales)
        boxes, matched, labels = self.region_targets(proposals, batch.boxes, batch.labels)
        logits, deltas = self.heads.vote(self.heads(conv5), boxes)
        wanted = encode(matched, boxes)
        used = labels >= 0
        of_class = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
        of_box = F.smooth_l1_loss(deltas, wanted, reduction="none").sum(dim=2).flatten() * (labels > 0).flatten()
        if self.hparams.ohem:
            total = (of_class + self.hparams.box_weight * of_box).detach()
            total = torch.where(used.flatten(), total, -1.0)
            chosen = total.topk(min(self.hparams.regions * len(labels), int(used.sum()))).indices
        else:
            chosen = used.flatten().nonzero()[:, 0]
        normaliser = self.hparams.regions * len(labels)
        return {
            "rpn_class_loss": rpn_class,
            "rpn_box_loss": rpn_box,
            "class_loss": of_class[chosen].sum() / normaliser,
            "box_loss": self.hparams.box_weight * of_box[chosen].sum() / normaliser,
        }

    @torch.no_grad()
    def region_targets(
        self, proposals: Proposals, truth: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The regions to train on: the proposals, and the objects themselves.

        Returns:
            boxes [N, R, 4]; the object that each overlaps most, [N, R, 4]; and its class int64 [N, R]: 0 for the
            background, 1 for the first class, -1 where the region is not trained on.
        """
        rows = []
        for boxes, valid, objects, classes in zip(*proposals, truth, labels, strict=True):
            boxes = torch.cat([objects, boxes[valid]])
            if len(objects):
                overlap, best = iou_matrix(boxes, objects).max(dim=1)
                matched, target = objects[best], torch.where(overlap >= FOREGROUND_IOU, classes[best] + 1, 0)
            else:
                overlap, matched = boxes.new_zeros(len(boxes)), boxes
                target = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
            if not self.hparams.ohem:
                target = self._sampled(target, overlap)
            rows.append((boxes, matched, target))
        longest = max(len(boxes) for boxes, _, _ in rows)
        unit = rows[0][0].new_tensor([0.0, 0.0, 1.0, 1.0])  # fills up; a box that can be encoded
        filled = [
            (
                torch.cat([boxes, unit.expand(longest - len(boxes), 4)]),
                torch.cat([matched, unit.expand(longest - len(boxes), 4)]),
                F.pad(target, (0, longest - len(boxes)), value=-1),
            )
            for boxes, matched, target in rows
        ]
        boxes, matched, target = (torch.stack(parts) for parts in zip(*filled, strict=True))
        return boxes, matched, target

    def _sampled(self, target: Tensor, overlap: Tensor) -> Tensor:
        """Regions [R] with all but a sample set to -1: a quarter objects, the rest background that overlaps by 0.1."""
        count = self.hparams.regions
        objects = sample(target > 0, round(count * FOREGROUND_SHARE))
        background = sample((target == 0) & (overlap >= LOWEST_BACKGROUND_IOU), count - len(objects))
        chosen = torch.cat([objects, background])
        return torch.full_like(target, -1).scatter(0, chosen, target[chosen])

    def training_step(self, batch: DetectionBatch, batch_index: int) -> Tensor:
        """The sum of the four losses."""
        losses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        self.log_dict({"train_loss": total, **losses}, prog_bar=True, batch_size=len(batch.images))
        return total

    def validation_step(self, number: int, batch_index: int) -> None:
        """Detects on one picture of the validation split; the metric is taken at the end of the epoch."""
        picture = self.trainer.datamodule.validation_set.pictures[int(number)]
        self._answers.append((picture, self.detect(read_image(picture.path))))

    def on_validation_epoch_end(self) -> None:
        """VOC's and COCO's metric over the validation split."""
        pictures, found = zip(*self._answers, strict=True)
        self._answers.clear()
        metrics = detection_metrics(pictures, found, self.hparams.classes)
        self.log_dict({"val_map_50": metrics["map_50"], "val_map": metrics["map"]}, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """SGD as the authors have it (biases learn twice as fast and do not decay), or AdamW."""
        h = self.hparams
        learnt = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        biases = [p for name, p in learnt if name.endswith("bias") or p.dim() == 1]
        weights = [p for name, p in learnt if not (name.endswith("bias") or p.dim() == 1)]
        optimizer: torch.optim.Optimizer
        if h.optimizer == "sgd":
            groups = [{"params": weights}, {"params": biases, "lr": 2 * h.learning_rate, "weight_decay": 0.0}]
            optimizer = torch.optim.SGD(groups, lr=h.learning_rate, momentum=0.9, weight_decay=h.weight_decay)
        else:
            groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
            optimizer = torch.optim.AdamW(groups, lr=h.learning_rate, weight_decay=h.weight_decay)
        milestones = () if h.decay_steps else h.milestones
        return scheduled(optimizer, warmup_steps=h.warmup_steps, decay_steps=h.decay_steps, milestones=milestones)


SYSTEM = System(
    name="rfcn",
    module=RFCN,
    data=DetectionData,
    links=(("classes", "classes"), ("shorter_side", "shorter_side"), ("longest_side", "longest_side")),
)
