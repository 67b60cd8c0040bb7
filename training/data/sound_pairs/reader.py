"""Pairs for SoundNet's teaching: a sound, and what two image networks say about each segment of its video.

* ``FOLDER/probabilities.parquet`` has the columns audio (path within FOLDER), segment (0, 1, …), objects and scenes
  (lists of probabilities);
* ``FOLDER/frames.csv``, in its place, has audio, segment and frame (path of a picture within FOLDER): from it
  `training/data/sound_pairs/teacher.py` makes the Parquet file once, with two ONNX teachers;
* ``FOLDER/objects.txt`` and ``scenes.txt``, where they are there, name the classes, one a line.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from neurips16.training.errors import DataError

PROBABILITIES = "probabilities.parquet"
SUM_TOLERANCE = 1e-2  # teachers that were stored as FP16 are this exact


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
    except (pa.ArrowException, OSError) as error:
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
