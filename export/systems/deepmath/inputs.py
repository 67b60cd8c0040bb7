"""Statements as the models' inputs: bytes of text, or hashes of words, padded with zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurips16.training.data.deepmath.reader import normalise
from neurips16.training.data.deepmath.words import word_hashes


def text_batch(lines: Sequence[str]) -> np.ndarray:
    """Statements as written, UINT8 [N, L]."""
    return _padded([np.frombuffer(line.encode(), np.uint8) for line in lines])


def word_batch(lines: Sequence[str]) -> np.ndarray:
    """The words of statements as written, INT64 [N, L]."""
    return _padded([word_hashes(normalise(line)) for line in lines])


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    batch = np.zeros((len(rows), max(1, *map(len, rows))), rows[0].dtype)
    for line, row in zip(batch, rows, strict=True):
        line[: len(row)] = row
    return batch
