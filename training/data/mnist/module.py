"""Labelled images for Lightning, in batches that continue where a stopped run left off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from neurips16.training.data.mnist.reader import LabelledImages, read_mnist
from neurips16.training.resume import batches_left

VALIDATION_BATCH = 500


class ImageBatch(NamedTuple):
    """A batch: whatever has been drawn together, channels before rows."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor  # int64 [N]


class MnistData(lightning.LightningDataModule):
    """MNIST, or what is laid out like it.

    Args:
        folder: holds the IDX files; see `training/data/mnist/reader.py`.
        batch_size: images of a batch.
        batches_per_epoch: 0 takes as many as there are whole batches.
        validation_size: the validation set is so many of the training images, evenly spaced; training sees them too,
            since what is validated here are codes that are learnt without labels.
        limit: train on so many images only; 0 takes all.
        seed: of the order.
    """

    def __init__(
        self,
        folder: str,
        batch_size: int = 128,
        batches_per_epoch: int = 0,
        validation_size: int = 10000,
        limit: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.folder, self.batch_size, self.limit, self.seed = folder, batch_size, limit, seed
        self.batches_per_epoch, self.validation_size = batches_per_epoch, validation_size

    @cached_property
    def training_set(self) -> LabelledImages:
        """The training split, read when it is first needed."""
        found = read_mnist(self.folder, "train")
        return LabelledImages(found.images[: self.limit], found.labels[: self.limit]) if self.limit else found

    @property
    def image_shape(self) -> list[int]:
        """Channels, height and width of an image."""
        _, height, width, channels = self.training_set.images.shape
        return [channels, height, width]

    @property
    def classes(self) -> int:
        """How many classes there are: labels count from 0."""
        return int(self.training_set.labels.max()) + 1

    @property
    def epoch_length(self) -> int:
        """Batches of an epoch."""
        return self.batches_per_epoch or max(1, len(self.training_set) // self.batch_size)

    def batch(self, indices: np.ndarray) -> ImageBatch:
        """The training images of these indices."""
        images = torch.from_numpy(self.training_set.images[indices]).permute(0, 3, 1, 2).contiguous()
        return ImageBatch(images, torch.from_numpy(self.training_set.labels[indices]))

    def draw(self, number: int) -> ImageBatch:
        """The training batch of that number, which alone decides what is in it: one pass takes each image once."""
        passes, place = divmod(number, max(1, len(self.training_set) // self.batch_size))
        order = np.random.default_rng([self.seed, passes]).permutation(len(self.training_set))
        return self.batch(order[place * self.batch_size : (place + 1) * self.batch_size])

    def train_dataloader(self) -> DataLoader:
        """The batches that are left of an epoch."""
        return DataLoader(_Epoch(self), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """Training images, evenly spaced."""
        count = min(self.validation_size, len(self.training_set))
        chosen = np.linspace(0, len(self.training_set) - 1, count).round().astype(int)
        parts = [chosen[start : start + VALIDATION_BATCH] for start in range(0, count, VALIDATION_BATCH)]
        batches = [self.batch(part) for part in parts]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a list will do for a data set


class _Epoch(IterableDataset):
    """The batches of the current epoch, from where the module says that it is."""

    def __init__(self, data: MnistData):
        self.data = data

    def __iter__(self) -> Iterator[ImageBatch]:
        trainer, length = self.data.trainer, self.data.epoch_length
        assert trainer is not None  # it asks for the batches
        for place in batches_left(trainer, length):
            yield self.data.draw(trainer.current_epoch * length + place)
