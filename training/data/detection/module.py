"""Detection data for Lightning: resized, flipped and batched pictures that continue where a stopped run left off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from neurips16.training.data.detection.image_input import MEAN_COLOUR, resize_image
from neurips16.training.data.detection.reader import DetectionSet, Picture, read_detection_set, read_image
from neurips16.training.resume import batches_left

FLIPS = ("none", "horizontal", "both")


class DetectionBatch(NamedTuple):
    """Resized pictures, filled up with the mean colour at the right and at the bottom, and what is on them."""

    images: Tensor  # float32 [N, 3, H, W], 0 to 255
    sizes: Tensor  # float32 [N, 2], (height, width) of each without what fills it up
    scales: Tensor  # float32 [N, 2], resized over original, along (height, width)
    boxes: list[Tensor]  # float32 [G, 4] each, in pixels of the resized picture
    labels: list[Tensor]  # int64 [G] each, numbers of classes from 0


class _Request(NamedTuple):
    """What a worker is asked for: a picture, the length of its shorter side, and how to change it."""

    picture: int  # its number
    shorter_side: int
    seed: tuple[int, ...]


class DetectionData(lightning.LightningDataModule):
    """Pictures with boxes in the layout of PASCAL VOC or COCO.

    Args:
        folder: of the data set; see `training/data/detection/reader.py`.
        train_split, val_split: names of splits; an empty val_split leaves validation out.
        batch_size: pictures at a time.
        shorter_sides: lengths to which the shorter side is resized, one drawn for each batch (R-FCN's multi-scale
            training); the first one is used in validation.
        longest_side: to which the longer side is limited.
        flips: "horizontal" (the paper), "both" (also upside down, for pictures without an up), or "none".
        jitter: by how much brightness, contrast and colours are changed at most, as a share; the paper does not.
        workers: processes that read pictures; 0 reads them in between.
        seed: of the order and of the changes.
    """

    def __init__(
        self,
        folder: str,
        train_split: str = "trainval",
        val_split: str = "",
        batch_size: int = 1,
        shorter_sides: Sequence[int] = (600,),
        longest_side: int = 1000,
        flips: str = "horizontal",
        jitter: float = 0.0,
        workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        if flips not in FLIPS:
            raise ValueError(f"flips is one of {', '.join(FLIPS)}; got {flips!r}")
        self.folder, self.train_split, self.val_split = folder, train_split, val_split
        self.batch_size, self.shorter_sides, self.longest_side = batch_size, list(shorter_sides), longest_side
        self.flips, self.jitter, self.workers, self.seed = flips, jitter, workers, seed

    @cached_property
    def training_set(self) -> DetectionSet:
        """The pictures to train on, read when they are first needed."""
        return read_detection_set(self.folder, self.train_split)

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes, which the training split decides."""
        return list(self.training_set.classes)

    @property
    def shorter_side(self) -> int:
        """The length to which the shorter side is resized outside training."""
        return self.shorter_sides[0]

    def train_dataloader(self) -> DataLoader:
        """Batches of one epoch, from the trainer's place in it."""
        pictures = self.training_set.pictures
        dataset = _Resized(self, [p for p in pictures if not p.ignored.all()] or pictures)
        return DataLoader(
            dataset, batch_sampler=_Epoch(self, len(dataset)), num_workers=self.workers, collate_fn=collate
        )

    @cached_property
    def validation_set(self) -> DetectionSet:
        """The pictures to validate on; none where no split is named."""
        if not self.val_split:
            return DetectionSet(tuple(self.classes), ())
        return read_detection_set(self.folder, self.val_split, self.classes)

    def val_dataloader(self) -> DataLoader:
        """The numbers of the pictures of `validation_set`: a detector takes them as they are."""
        numbers = range(len(self.validation_set.pictures))
        return DataLoader(numbers, batch_size=None)  # type: ignore[arg-type]  # a range will do for a data set


class _Resized(Dataset):
    """One picture as `DetectionBatch` holds it: image [3, H, W], scale [2], boxes, labels."""

    def __init__(self, data: DetectionData, pictures: Sequence[Picture]):
        self.data, self.pictures = data, pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, request: _Request) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        picture = self.pictures[request.picture]
        pixels = torch.from_numpy(read_image(picture.path).copy()).permute(2, 0, 1)[None]
        image, scale = resize_image(pixels, request.shorter_side, self.data.longest_side)
        boxes = torch.from_numpy(picture.boxes[~picture.ignored]) * scale.flip(0).repeat(2)
        labels = torch.from_numpy(picture.labels[~picture.ignored])
        rng = np.random.default_rng(request.seed)
        image, boxes = _flipped(image[0], boxes, self.data.flips, rng)
        return _jittered(image, self.data.jitter, rng), scale, boxes, labels


class _Epoch(Sampler):
    """The batches of the current epoch. All follows from (seed, epoch), so a resumed run skips what is done."""

    def __init__(self, data: DetectionData, pictures: int):
        self.data, self.pictures = data, pictures

    def __len__(self) -> int:
        trainer = self.data.trainer
        assert trainer is not None  # it asks for the batches
        return max(1, self.pictures // self.data.batch_size // trainer.world_size)

    def __iter__(self) -> Iterator[list[_Request]]:
        data, trainer = self.data, self.data.trainer
        assert trainer is not None
        epoch, world, size = trainer.current_epoch, trainer.world_size, data.batch_size
        rng = np.random.default_rng([data.seed, epoch])
        order = np.resize(rng.permutation(self.pictures), max(size * world, self.pictures))
        sides = rng.choice(data.shorter_sides, size=len(self))
        for i in batches_left(trainer, len(self)):
            start = (i * world + trainer.global_rank) * size
            yield [
                _Request(int(index), int(sides[i]), (data.seed, epoch, start + place))
                for place, index in enumerate(order[start : start + size])
            ]


def collate(samples: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]) -> DetectionBatch:
    """Samples of any sizes to one batch."""
    images, scales, boxes, labels = zip(*samples, strict=True)
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = sizes.amax(dim=0).tolist()
    batch = torch.tensor(MEAN_COLOUR).reshape(1, 3, 1, 1).repeat(len(images), 1, height, width)
    for filled, image in zip(batch, images, strict=True):
        filled[:, : image.shape[1], : image.shape[2]] = image
    return DetectionBatch(batch, sizes.float(), torch.stack(scales), list(boxes), list(labels))


def _flipped(image: Tensor, boxes: Tensor, flips: str, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    height, width = image.shape[-2:]
    if flips != "none" and rng.random() < 0.5:
        image, boxes = image.flip(2), boxes[:, [2, 1, 0, 3]] * boxes.new_tensor([-1, 1, -1, 1])
        boxes = boxes + boxes.new_tensor([width, 0, width, 0])
    if flips == "both" and rng.random() < 0.5:
        image, boxes = image.flip(1), boxes[:, [0, 3, 2, 1]] * boxes.new_tensor([1, -1, 1, -1])
        boxes = boxes + boxes.new_tensor([0, height, 0, height])
    return image, boxes


def _jittered(image: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Another contrast about the mean, and another brightness for each colour, all within 1 - share … 1 + share."""
    if not share:
        return image
    contrast, *colours = rng.uniform(1 - share, 1 + share, 4).tolist()
    mean = image.mean()
    return ((image - mean) * contrast + mean * image.new_tensor(colours).reshape(3, 1, 1)).clamp(0, 255)
