"""Labelled sounds for Lightning: varied crops and mixtures to train on, whole clips to validate with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from neurips16.training.data.esc50.augmentation import Augmentation, mixed
from neurips16.training.data.esc50.reader import Clip, SoundSet, read_clips, read_sound_set
from neurips16.training.errors import DataError
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ
from neurips16.training.resume import batches_left


class SoundBatch(NamedTuple):
    """Sounds with the share of each class in them."""

    waveform: Tensor  # float32 [N, T]
    soft_labels: Tensor  # float32 [N, C], rows sum to 1


class Esc50Data(lightning.LightningDataModule):
    """A set in ESC-50's layout.

    Args:
        folder: see `training/data/esc50/reader.py`.
        held_out_fold: the fold that is not trained on; 0 trains on all.
        batch_size: sounds in a batch.
        epoch_size: sounds in an epoch, each class in turn; 0: as many as there are clips.
        augmentation: what is done to a training sound.
        seed: of the order and of every variation.
    """

    def __init__(
        self,
        folder: str,
        held_out_fold: int = 0,
        batch_size: int = 64,
        epoch_size: int = 0,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.folder, self.held_out_fold, self.batch_size, self.seed = folder, held_out_fold, batch_size, seed
        self.augmentation = augmentation or Augmentation()
        self._epoch_size = epoch_size

    @cached_property
    def sounds(self) -> SoundSet:
        """The set's table, checked against the fold that is asked for."""
        found = read_sound_set(self.folder)
        if self.held_out_fold and self.held_out_fold not in found.folds:
            raise DataError(f"{self.folder} has no fold {self.held_out_fold}; its folds are {found.folds}")
        return found

    @property
    def labels(self) -> list[str]:
        """The names of the classes."""
        return list(self.sounds.labels)

    @cached_property
    def train_clips(self) -> list[Clip]:
        """What is trained on."""
        return self.sounds.without(self.held_out_fold)

    @cached_property
    def train_waveforms(self) -> list[np.ndarray]:
        """Its sounds, kept in memory: 320 clips of 5 s are 141 MB."""
        return read_clips(self.train_clips, SAMPLE_RATE_HZ)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last may be smaller."""
        return -(-(self._epoch_size or len(self.train_clips)) // self.batch_size)

    def example(self, first: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Training clip ``first``, varied, or mixed with one of another class: a sound [T] and the soft_labels [C]."""
        vary, clips = self.augmentation, self.train_clips
        sound = vary.vary(self.train_waveforms[first], SAMPLE_RATE_HZ, rng)
        soft_labels = np.zeros(len(self.sounds.labels), np.float32)
        soft_labels[clips[first].label] = 1.0
        others = [i for i, clip in enumerate(clips) if clip.label != clips[first].label]
        if others and rng.random() < vary.mix:
            second = others[int(rng.integers(len(others)))]
            ratio = float(rng.random())
            other = vary.vary(self.train_waveforms[second], SAMPLE_RATE_HZ, rng)
            sound = mixed(sound, other, ratio, SAMPLE_RATE_HZ)
            soft_labels[clips[first].label], soft_labels[clips[second].label] = ratio, 1 - ratio
        return sound, soft_labels

    def order(self, epoch: int) -> np.ndarray:
        """The training clips of an epoch: each class as often as any other, its clips in a new order."""
        rng = np.random.default_rng([self.seed, epoch])
        size = self._epoch_size or len(self.train_clips)
        labels = np.array([clip.label for clip in self.train_clips])
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        rounds = -(-size // len(members))  # one clip of each class in a round
        columns = [
            np.concatenate([rng.permutation(column) for _ in range(-(-rounds // len(column)))])[:rounds]
            for column in members
        ]
        return np.concatenate([rng.permutation(row) for row in np.stack(columns, axis=1)])[:size]

    def train_dataloader(self) -> DataLoader:
        """Batches of one epoch, from the trainer's place in it."""
        return DataLoader(_Epoch(self), batch_size=None)

    def val_dataloader(self) -> DataLoader | list:
        """The held-out clips as they are, one length a batch."""
        if not self.held_out_fold:
            return []
        clips = self.sounds.within(self.held_out_fold)
        batches = _whole_clips(clips, len(self.sounds.labels), self.batch_size)
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a list will do for a data set


def _whole_clips(clips: list[Clip], classes: int, batch_size: int) -> list[SoundBatch]:
    groups: dict[int, list[tuple[np.ndarray, int]]] = {}
    for clip, sound in zip(clips, read_clips(clips, SAMPLE_RATE_HZ), strict=True):
        groups.setdefault(len(sound), []).append((sound, clip.label))
    batches = []
    for members in groups.values():
        for start in range(0, len(members), batch_size):
            sounds, labels = zip(*members[start : start + batch_size], strict=True)
            soft_labels = torch.eye(classes)[list(labels)]
            batches.append(SoundBatch(torch.from_numpy(np.stack(sounds)), soft_labels))
    return batches


class _Epoch(IterableDataset):
    """The batches of the current epoch. All follows from (seed, epoch, place), so a resumed run skips what is done."""

    def __init__(self, data: Esc50Data):
        self.data = data

    def __len__(self) -> int:
        return self.data.steps_per_epoch

    def __iter__(self) -> Iterator[SoundBatch]:
        data = self.data
        assert data.trainer is not None  # it asks for the batches
        epoch = data.trainer.current_epoch
        order = data.order(epoch)
        for step in batches_left(data.trainer, data.steps_per_epoch):
            places = range(step * data.batch_size, min((step + 1) * data.batch_size, len(order)))
            examples = [
                data.example(int(order[place]), np.random.default_rng([data.seed, epoch, place])) for place in places
            ]
            sounds, soft_labels = zip(*examples, strict=True)
            yield SoundBatch(torch.from_numpy(np.stack(sounds)), torch.from_numpy(np.stack(soft_labels)))
