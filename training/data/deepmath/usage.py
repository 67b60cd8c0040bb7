"""How often training lists a statement as useful and as useless: what a model may remember of single statements.

A statement goes by its *key*, a number made of its words in order, so that the served graph, which sees words alone,
finds what is remembered of it. Statements of the same words are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.training.data.deepmath.reader import Conjecture

KEY_BUCKETS = 1 << 17
# A factor for each place in a statement. Sums of 2^11 products of words (below 2^32) with them stay below 2^62.
MAX_WORDS = 1 << 11
KEY_FACTORS = np.random.default_rng(0).integers(1, 1 << 19, MAX_WORDS).astype(np.int32)


def statement_keys(owners: np.ndarray, words: np.ndarray, statements: int) -> np.ndarray:
    """The keys of statements, int64 [S].

    Args:
        owners: the statement of each word, ascending [M].
        words: the lower halves of the words' hashes [M].
        statements: S.
    """
    starts = np.searchsorted(owners, np.arange(statements))
    keys = np.zeros(statements, np.int64)
    np.add.at(keys, owners, words * KEY_FACTORS[np.arange(len(owners)) - starts[owners]])
    return keys


@dataclass(frozen=True)
class UsageTable:
    """What is remembered, by key; the statements of bucket b are those from ``starts[b]`` to ``starts[b + 1]``."""

    starts: np.ndarray  # int32 [KEY_BUCKETS + 1]
    prints: np.ndarray  # int32 [M]: the rest of the key
    counts: np.ndarray  # int16 [M, 2]: how often useful, how often useless

    @classmethod
    def of(cls, keys: np.ndarray, counts: np.ndarray) -> UsageTable:
        """From distinct keys [M] and counts [M, 2]."""
        buckets, prints = keys % KEY_BUCKETS, (keys // KEY_BUCKETS) % (1 << 31)
        order = np.lexsort((prints, buckets))
        starts = np.searchsorted(buckets[order], np.arange(KEY_BUCKETS + 1)).astype(np.int32)
        most = np.iinfo(np.int16).max
        return cls(starts, prints[order].astype(np.int32), np.minimum(counts[order], most).astype(np.int16))


class Usage:
    """How often some conjectures list each statement of a library.

    Args:
        keys: of the library's statements [S].
        conjectures: whose lists count.
    """

    def __init__(self, keys: np.ndarray, conjectures: Sequence[Conjecture]):
        self._keys, self._groups = np.unique(keys, return_inverse=True)
        self._counted = {c.statement for c in conjectures}
        self._counts = self._count(conjectures)

    def _count(self, conjectures: Iterable[Conjecture]) -> np.ndarray:
        counts = np.zeros((len(self._keys), 2), np.int64)
        for conjecture in conjectures:
            if conjecture.statement in self._counted:
                for column, listed in enumerate((conjecture.useful, conjecture.useless)):
                    np.add.at(counts[:, column], self._groups[listed], 1)
        return counts

    def counts(self, statements: np.ndarray, without: Iterable[Conjecture] = ()) -> np.ndarray:
        """How often statements [n] are listed as useful and as useless, int64 [n, 2].

        Args:
            statements: which.
            without: conjectures whose own lists do not count: what they list is to be found, not to be known.
        """
        return (self._counts - self._count(without))[self._groups[statements]]

    @property
    def table(self) -> UsageTable:
        """Those of the statements that are listed at all."""
        listed = np.flatnonzero(self._counts.any(axis=1))
        return UsageTable.of(self._keys[listed], self._counts[listed])
