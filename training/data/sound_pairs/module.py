"""Pairs of a sound and its teachers' distributions for Lightning."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neurips16.training.data.audio import read_waveform
from neurips16.training.data.sound_pairs.reader import PROBABILITIES, Pair, read_pairs
from neurips16.training.data.sound_pairs.teacher import write_probabilities
from neurips16.training.errors import DataError
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ

_log = logging.getLogger(__name__)


class PairBatch(NamedTuple):
    """Sounds and their teachers' distributions."""

    waveform: Tensor  # float32 [N, T], in [-1, 1] at 22,050 Hz
    objects: Tensor  # float32 [N, O, S]
    scenes: Tensor  # float32 [N, P, S]


class SoundPairsData(lightning.LightningDataModule):
    """The pairs for Lightning: random windows of a fixed length for training, the first window for validation.

    Args:
        folder: see `training/data/sound_pairs/reader.py`.
        seconds: length of a window; the paper's clips have 20 s.
        segments: teacher segments in it, 4 of 5 s in the paper.
        batch_size: sounds in a batch.
        validation_every: every so-many-th sound is kept for validation; 0 keeps none.
        object_teacher: an ONNX network for the pictures of ``frames.csv``, where there is no Parquet file.
        scene_teacher: the same, for scenes.
        workers: processes that decode.
    """

    def __init__(
        self,
        folder: str,
        seconds: float = 20.0,
        segments: int = 4,
        batch_size: int = 64,
        validation_every: int = 20,
        object_teacher: str | None = None,
        scene_teacher: str | None = None,
        workers: int = 0,
    ):
        super().__init__()
        self.folder, self.seconds, self.segments = folder, seconds, segments
        self.batch_size, self.validation_every, self.workers = batch_size, validation_every, workers
        self.object_teacher, self.scene_teacher = object_teacher, scene_teacher

    @cached_property
    def pairs(self) -> list[Pair]:
        """All pairs that are long enough; what the teachers still have to say is asked first."""
        if not (Path(self.folder) / PROBABILITIES).is_file() and self.object_teacher and self.scene_teacher:
            write_probabilities(self.folder, self.object_teacher, self.scene_teacher)
        found = read_pairs(self.folder)
        kept = [pair for pair in found if len(pair.objects) >= self.segments]
        if not kept:
            raise DataError(f"{self.folder}: no sound has {self.segments} segments; set --data.segments and seconds")
        if len(kept) < len(found):
            _log.warning("%d of %d sounds have fewer than %d segments and are left out", len(found) - len(kept),
                         len(found), self.segments)  # fmt: skip
        return kept

    @property
    def objects(self) -> int:
        """Classes of the first teacher."""
        return self.pairs[0].objects.shape[1]

    @property
    def scenes(self) -> int:
        """Classes of the second."""
        return self.pairs[0].scenes.shape[1]

    @property
    def object_labels(self) -> list[str] | None:
        """Names of the first teacher's classes, where the folder has them."""
        return self._labels("objects.txt", self.objects)

    @property
    def scene_labels(self) -> list[str] | None:
        """Names of the second's."""
        return self._labels("scenes.txt", self.scenes)

    def _labels(self, name: str, count: int) -> list[str] | None:
        path = Path(self.folder) / name
        if not path.is_file():
            return None
        labels = path.read_text(encoding="utf-8").splitlines()
        if len(labels) != count:
            raise DataError(f"{path} names {len(labels)} classes, the teacher has {count}")
        return labels

    def split(self, split: str) -> list[Pair]:
        """The pairs for "train" or "validation"."""
        every = self.validation_every
        return [p for i, p in enumerate(self.pairs) if (every > 0 and i % every == every - 1) == (split != "train")]

    def train_dataloader(self) -> DataLoader:
        """Random windows, in random order."""
        return self._loader(_Windows(self, self.split("train"), random=True), shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """The first window of each sound."""
        return self._loader(_Windows(self, self.split("validation"), random=False), shuffle=False)

    def _loader(self, windows: _Windows, *, shuffle: bool) -> DataLoader:
        return DataLoader(windows, self.batch_size, shuffle=shuffle, num_workers=self.workers, collate_fn=_collate)


class _Windows(Dataset):
    def __init__(self, data: SoundPairsData, pairs: list[Pair], *, random: bool):
        self.data, self.pairs, self.random = data, pairs, random

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pair, segments = self.pairs[index], self.data.segments
        spare = len(pair.objects) - segments
        first = int(torch.randint(spare + 1, ())) if self.random else 0
        samples = round(self.data.seconds * SAMPLE_RATE_HZ)
        start = round(first * samples / segments)
        window = read_waveform(pair.audio, SAMPLE_RATE_HZ)[start : start + samples]
        if len(window) < samples * (1 - 0.5 / segments):
            raise DataError(
                f"{pair.audio} ends {(samples - len(window)) / SAMPLE_RATE_HZ:.1f} s before its last segment does"
            )
        chosen = slice(first, first + segments)
        return np.pad(window, (0, samples - len(window))), pair.objects[chosen].T, pair.scenes[chosen].T


def _collate(items: list[tuple[np.ndarray, ...]]) -> PairBatch:
    columns: Iterator[tuple[np.ndarray, ...]] = zip(*items, strict=True)
    return PairBatch(*(torch.from_numpy(np.stack(column)) for column in columns))
