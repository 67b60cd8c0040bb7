"""Environmental sounds in the layout of ESC-50 (Piczak 2015): ``meta/esc50.csv`` beside ``audio/``.

Clips of one source recording share a fold, so only whole folds may be held out. A set may be a part of ESC-50 (ESC-10
is): its targets keep ESC-50's numbers, and classes are counted 0, 1, … in the order of those.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurips16.training.data.audio import read_waveform
from neurips16.training.errors import DataError

META = Path("meta/esc50.csv")
COLUMNS = {"filename", "fold", "target", "category"}


_WHOLE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Clip:
    """One recording."""

    path: Path
    fold: int
    label: int  # counted from 0 within the set

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.name


@dataclass(frozen=True)
class SoundSet:
    """A labelled set of clips."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]  # names of the classes, with spaces
    targets: tuple[int, ...]  # ESC-50's number of each class

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds that are there."""
        return sorted({clip.fold for clip in self.clips})

    def without(self, fold: int) -> list[Clip]:
        """The clips of all other folds."""
        return [clip for clip in self.clips if clip.fold != fold]

    def within(self, fold: int) -> list[Clip]:
        """The clips of one fold."""
        return [clip for clip in self.clips if clip.fold == fold]


def read_sound_set(folder: str | Path) -> SoundSet:
    """Read the table of a set; the sounds themselves are read when they are needed.

    Raises:
        DataError: the table is missing or not as ESC-50 has it, or names a file that is not there.
    """
    folder = Path(folder)
    path = folder / META
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: a set in ESC-50's layout has meta/esc50.csv and audio/") from error
    if not rows or not set(rows[0]) >= COLUMNS:
        raise DataError(f"{path} is no table with the columns {', '.join(sorted(COLUMNS))}")
    if not all(_WHOLE.fullmatch(row[column] or "") for row in rows for column in ("fold", "target")):
        raise DataError(f"{path}: folds and targets are whole numbers")
    if not all(row["filename"] and row["category"] for row in rows):  # a row that was cut off has none
        raise DataError(f"{path}: each row names its file and its category")
    names = {int(row["target"]): row["category"].replace("_", " ") for row in rows}
    targets = sorted(names)
    place = {target: i for i, target in enumerate(targets)}
    clips = [Clip(folder / "audio" / row["filename"], int(row["fold"]), place[int(row["target"])]) for row in rows]
    if missing := [clip.path for clip in clips if not clip.path.is_file()]:
        raise DataError(f"{path} names {len(missing)} files that are not there, the first is {missing[0]}")
    return SoundSet(tuple(clips), tuple(names[target] for target in targets), tuple(targets))


def read_clips(clips: list[Clip], sample_rate_hz: int) -> list[np.ndarray]:
    """The sounds of clips, float32 [T] each."""
    return [read_waveform(clip.path, sample_rate_hz) for clip in clips]
