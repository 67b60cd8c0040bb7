"""Statements as weighted bags of hashed words, endings and word bigrams.

A feature is named by its *bucket*, a hash modulo a power of two, so that the served graph needs no vocabulary. The
buckets that training saw often enough have a row in the table of embeddings; the map from bucket to row is a part of
the model, and a bucket without a row counts for nothing. So a word that the model never saw is passed over, unless its
bucket is taken: with 2^19 buckets one in fifty. Bucket 0 never has a row: there is the padding.

A feature weighs ``(1 + ln tf) * idf`` with ``idf = ln((1 + N) / (1 + df)) + 1``, and the weights of a statement have
the L2 norm 1 in each block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from neurips16.training.data.deepmath.usage import statement_keys
from neurips16.training.data.deepmath.words import CONNECTIVES, VARIABLE, word_hash
from neurips16.training.errors import DataError

LOW = 1 << 32
BIGRAM_FACTOR = 1_000_003  # (2^32 - 1) * (1 + this) stays far below 2^63
MAX_ROWS = np.iinfo(np.int16).max  # the models store rows as INT16
# Lower halves of words that are no symbols: they have no row of their own, but are parts of bigrams.
NO_SYMBOLS = tuple(word_hash(word) % LOW for word in (*CONNECTIVES, VARIABLE))


@dataclass(frozen=True)
class Block:
    """One kind of feature."""

    name: str
    buckets: int
    min_statements: int  # a bucket has a row if so many statements have it
    ignored: tuple[int, ...] = (0,)  # buckets that never have a row


WORDS = Block("words", 1 << 19, 2, (0, *(hashed % (1 << 19) for hashed in NO_SYMBOLS)))
ENDINGS = Block("endings", 1 << 16, 2)
BIGRAMS = Block("bigrams", 1 << 20, 10)
BLOCKS = (WORDS, ENDINGS, BIGRAMS)


@dataclass(frozen=True)
class FeatureRows:
    """Which buckets have a row, and what a row weighs. Rows count through all blocks from 1; 0 is no row."""

    rows: tuple[np.ndarray, ...]  # for each block int16 [buckets]
    idf: np.ndarray  # float32 [F + 1]; of row 0 it is 0


class StatementBuckets:
    """The buckets of many statements' features: for each block the statement and the bucket of each occurrence."""

    def __init__(self, hashes: Sequence[np.ndarray], max_words: int):
        cut = [h[:max_words] for h in hashes]
        self.size = len(cut)
        lengths = np.array([len(h) for h in cut], np.int64)
        owners = np.repeat(np.arange(self.size), lengths)
        flat = np.concatenate([np.empty(0, np.int64), *cut])
        low, high = flat % LOW, flat >> 32
        self.keys = statement_keys(owners, low, self.size)  # int64 [S]
        pair = owners[1:] == owners[:-1]
        bigrams = (low[:-1] * BIGRAM_FACTOR + low[1:])[pair] % BIGRAMS.buckets
        self.occurrences = (
            (owners, low % WORDS.buckets),
            (owners, high % ENDINGS.buckets),
            (owners[1:][pair], bigrams),
        )

    def rows(self, seen: np.ndarray) -> FeatureRows:
        """Give a row to each bucket that enough of the statements ``seen`` have.

        Raises:
            DataError: more buckets than `MAX_ROWS` want one.
        """
        maps, idf, next_row = [], [np.zeros(1)], 1
        chosen = np.zeros(self.size, bool)
        chosen[seen] = True
        for block, (owners, buckets) in zip(BLOCKS, self.occurrences, strict=True):
            kept = chosen[owners]
            once = np.unique(owners[kept] * block.buckets + buckets[kept])  # each bucket once a statement
            frequency = np.bincount(once % block.buckets, minlength=block.buckets)
            frequency[list(block.ignored)] = 0
            enough = np.flatnonzero(frequency >= block.min_statements)
            if next_row + len(enough) > MAX_ROWS:
                raise DataError(f"the statements have more than {MAX_ROWS} features: raise Block.min_statements")
            rows = np.zeros(block.buckets, np.int16)
            rows[enough] = np.arange(next_row, next_row + len(enough))
            next_row += len(enough)
            maps.append(rows)
            idf.append(np.log((1 + len(seen)) / (1 + frequency[enough])) + 1)
        return FeatureRows(tuple(maps), np.concatenate(idf).astype(np.float32))

    def matrix(self, features: FeatureRows) -> scipy.sparse.csr_matrix:
        """The weights of all statements' features, float32 [S, F + 1]; column 0 is empty."""
        parts = []
        width = len(features.idf)
        for (owners, buckets), rows in zip(self.occurrences, features.rows, strict=True):
            columns = rows[buckets].astype(np.int64)
            kept = columns > 0
            cells, tf = np.unique(owners[kept] * width + columns[kept], return_counts=True)
            weights = (1 + np.log(tf)) * features.idf[cells % width]
            norms = np.sqrt(np.bincount(cells // width, weights**2, minlength=self.size))
            weights /= norms[cells // width]
            parts.append(scipy.sparse.csr_matrix((weights, (cells // width, cells % width)), (self.size, width)))
        return sum(parts[1:], parts[0]).tocsr().astype(np.float32)


@dataclass
class Bags:
    """The features of S statements, one statement's behind the other's."""

    rows: Tensor  # int64 [U]: the rows of the table that they have
    places: Tensor  # int64 [Z]: a place among those rows for each feature
    weights: Tensor  # float32 [Z]
    starts: Tensor  # int64 [S]: where each statement's features begin

    def to(self, device: torch.device) -> Bags:
        """The same, on a device."""
        return Bags(*(t.to(device) for t in (self.rows, self.places, self.weights, self.starts)))


class FeatureStore:
    """The features of many statements.

    Args:
        matrix: as `StatementBuckets.matrix` makes it.
        keys: of the statements [S]; see `training/data/deepmath/usage.py`.
    """

    def __init__(self, matrix: scipy.sparse.csr_matrix, keys: np.ndarray):
        self._matrix, self.keys = matrix, keys

    def __len__(self) -> int:
        return self._matrix.shape[0]

    def chunks(self, indices: np.ndarray, max_tokens: int) -> Iterator[tuple[np.ndarray, tuple[Bags]]]:
        """All statements asked for at once: places among them [S], and their bags."""
        part = self._matrix[indices]
        rows, places = np.unique(part.indices, return_inverse=True)
        arrays = (rows.astype(np.int64), places.astype(np.int64), part.data, part.indptr[:-1].astype(np.int64))
        yield np.arange(len(indices)), (Bags(*map(torch.from_numpy, arrays)),)
