"""Batches of conjectures with their listed premises and a random part of the library.

A premise is encoded once a batch, and every conjecture is scored with every premise of the batch: what stands before
the conjecture in library order and is not needed for it is a negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from neurips16.training.data.deepmath.reader import Conjecture
from neurips16.training.data.deepmath.usage import Usage


class StatementStore(Protocol):
    """The statements of a library as an encoder reads them."""

    def __len__(self) -> int:
        """How many there are."""

    def chunks(self, indices: np.ndarray, max_tokens: int) -> Iterator[tuple[np.ndarray, tuple[Any, ...]]]:
        """Some statements, in chunks: positions in ``indices``, and the input of an encoder for those.

        Args:
            indices: which statements.
            max_tokens: padded tokens of a chunk, which bounds the memory for its features.
        """


class TokenStore:
    """The token sequences of many statements in one flat array, cut at ``max_length`` tokens each."""

    def __init__(self, sequences: Iterable[np.ndarray], max_length: int):
        cut = [s[:max_length] for s in sequences]
        self.lengths = np.array([len(s) for s in cut], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._tokens = np.concatenate(cut) if cut else np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        """Some statements as tokens int64 [B, T], padded with -1 to the longest, and lengths int64 [B]."""
        lengths = self.lengths[indices]
        tokens = np.full((len(indices), max(1, lengths.max(initial=1))), -1, np.int64)
        for row, i in enumerate(indices):
            tokens[row, : lengths[row]] = self._tokens[self._starts[i] : self._starts[i + 1]]
        return torch.from_numpy(tokens), torch.from_numpy(lengths)

    def chunks(self, indices: np.ndarray, max_tokens: int) -> Iterator[tuple[np.ndarray, tuple[Tensor, Tensor]]]:
        """See `StatementStore`; the input of an encoder is tokens int64 [B, T] and lengths int64 [B]."""
        order = np.argsort(self.lengths[indices], kind="stable")
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and self.lengths[indices[order[stop]]] * (stop + 1 - start) <= max_tokens:
                stop += 1
            yield order[start:stop], self.padded(indices[order[start:stop]])
            start = stop


@dataclass
class Statements:
    """Some statements of a store; they become tensors only when they are asked for."""

    store: StatementStore
    indices: np.ndarray  # int [S]
    max_tokens: int  # of one padded chunk

    def chunks(self) -> Iterator[tuple[np.ndarray, tuple[Any, ...]]]:
        """See `StatementStore`."""
        return self.store.chunks(self.indices, self.max_tokens)


@dataclass
class Batch:
    """Conjectures and premises, and the pairs of them that the data list."""

    conjectures: Statements  # of C statements
    premises: Statements  # of P statements
    pairs: Tensor  # int64 [M, 2]: row of the conjecture, row of the premise
    useful: Tensor  # float32 [M]: 1 for a useful premise, else 0
    usage: Tensor | None  # int64 [P, 2]: how often other conjectures list the premise as useful, and as useless
    earlier: Tensor  # bool [C, P]: the premise stands before the conjecture
    log_chance: Tensor  # float32 [P]: ln of the premise's chance of being in a batch

    @property
    def needed(self) -> Tensor:
        """Whether the data list the premise as useful for the conjecture, bool [C, P]."""
        needed = torch.zeros_like(self.earlier)
        rows, columns = self.pairs[self.useful > 0].T
        needed[rows, columns] = True
        return needed


def make_batch(
    conjectures: Sequence[Conjecture],
    store: StatementStore,
    *,
    random: np.ndarray,
    mined: Mapping[int, np.ndarray],
    log_chances: np.ndarray,
    usage: Usage | None,
    max_tokens: int,
) -> Batch:
    """Join conjectures with premises: all that one of them lists, and others.

    Args:
        conjectures: C of them.
        store: all statements.
        random: statements that were drawn from the library.
        mined: hard negatives (statements) by the conjecture's statement; they are in the batch for certain.
        log_chances: of each statement [S]; see `log_chances`.
        usage: of the library's statements, where the model is to know it.
        max_tokens: see `StatementStore`.
    """
    anchors = np.array([c.statement for c in conjectures])
    hard = np.unique(np.concatenate([np.empty(0, np.int64), *(mined.get(a, ()) for a in anchors.tolist())]))
    lists = [np.concatenate([c.useful, c.useless]) for c in conjectures]
    premises = np.unique(np.concatenate([*lists, random, hard])).astype(np.int64)
    pairs = [
        np.stack([np.full(len(mine), row), np.searchsorted(premises, mine)], axis=1) for row, mine in enumerate(lists)
    ]
    useful = [np.arange(len(mine)) < len(c.useful) for c, mine in zip(conjectures, lists, strict=True)]
    return Batch(
        conjectures=Statements(store, anchors, max_tokens),
        premises=Statements(store, premises, max_tokens),
        pairs=torch.from_numpy(np.concatenate(pairs)),
        useful=torch.from_numpy(np.concatenate(useful)).float(),
        usage=None if usage is None else torch.from_numpy(usage.counts(premises, without=conjectures)),
        earlier=torch.from_numpy(premises < anchors[:, None]),
        log_chance=torch.from_numpy(np.where(np.isin(premises, hard), np.float32(0), log_chances[premises])),
    )


def log_chances(shares: np.ndarray, conjectures: int, random: int, library: int) -> np.ndarray:
    """The logarithm of each statement's chance of being among the premises of a batch.

    Args:
        shares: of the training conjectures, those that list the statement [S].
        conjectures: drawn for a batch.
        random: statements that are drawn for a batch beside the listed ones.
        library: statements that they are drawn from.
    """
    missed = (1 - shares) ** conjectures * (1 - min(1.0, random / library))
    return np.log(np.maximum(1 - missed, 1e-9)).astype(np.float32)
