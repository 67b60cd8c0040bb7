"""Pairs for SoundNet's teaching: a sound, and what two image networks say about each segment of its video.

* ``FOLDER/probabilities.parquet`` has the columns audio (path within FOLDER), segment (0, 1, …), objects and scenes
  (lists of probabilities);
* ``FOLDER/frames.csv``, in its place, has audio, segment and frame (path of a picture within FOLDER): from it
  `training/data/sound_pairs/teacher.py` makes the Parquet file once, with two ONNX teachers;
* ``FOLDER/objects.txt`` and ``scenes.txt``, where they are there, name the classes, one a line.
"""

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
from neurips16.training.errors import DataError
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ

PROBABILITIES = "probabilities.parquet"
SUM_TOLERANCE = 1e-2  # teachers that were stored as FP16 are this exact
_log = logging.getLogger(__name__)


class PairBatch(NamedTuple):
    """Sounds and their teachers' distributions."""

    waveform: Tensor  # float32 [N, T], in [-1, 1] at 22,050 Hz
    objects: Tensor  # float32 [N, O, S]
    scenes: Tensor  # float32 [N, P, S]


class Pair(NamedTuple):
    """One sound with its segments in order."""

    audio: Path
    objects: np.ndarray  # float32 [segments, O]
    scenes: np.ndarray  # float32 [segments, P]


def read_pairs(folder: str | Path) -> list[Pair]:
    """The pairs of a folder, in the order of their names.

    Raises:
        DataError: the file is not there, lacks a column, skips a segment, or holds what is no distribution.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder) / PROBABILITIES
    try:
        table = pq.read_table(path, columns=["audio", "segment", "objects", "scenes"])
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is not there: give it, or frames.csv with --data.object_teacher and --data.scene_teacher"
        ) from error
    except (pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"{path} is not Parquet with the columns audio, segment, objects, scenes: {error}") from error
    rows: dict[str, dict[int, int]] = {}
    for row, (audio, segment) in enumerate(zip(table["audio"].to_pylist(), table["segment"].to_pylist(), strict=True)):
        if segment in rows.setdefault(audio, {}):
            raise DataError(f"{path} has segment {segment} of {audio} twice")
        rows[audio][segment] = row
    columns = {name: _distributions(path, name, table[name].to_pylist()) for name in ("objects", "scenes")}
    pairs = []
    for audio, segments in sorted(rows.items()):
        if sorted(segments) != list(range(len(segments))):
            raise DataError(f"{path}: the segments of {audio} are {sorted(segments)}, expected 0, 1, … without a gap")
        order = [segments[i] for i in range(len(segments))]
        pairs.append(Pair(Path(folder) / audio, columns["objects"][order], columns["scenes"][order]))
    if not pairs:
        raise DataError(f"{path} has no rows")
    return pairs


def _distributions(path: Path, name: str, values: list[list[float]]) -> np.ndarray:
    lengths = {len(row) for row in values}
    if len(lengths) > 1 or 0 in lengths:
        raise DataError(f"{path}: the lists of {name} have {sorted(lengths)} values, expected one length over 0")
    array = np.array(values, np.float32)
    if array.size and not (array.min() >= 0 and np.abs(array.sum(axis=1) - 1).max() <= SUM_TOLERANCE):
        raise DataError(f"{path}: {name} holds rows that are no distributions (at least 0, with the sum 1)")
    return array


class SoundPairsData(lightning.LightningDataModule):
    """The pairs for Lightning: random windows of a fixed length for training, the first window for validation.

    Args:
        folder: see above.
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
            from neurips16.training.data.sound_pairs.teacher import write_probabilities

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
