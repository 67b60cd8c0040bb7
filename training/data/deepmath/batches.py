"""Batches of conjectures with their listed premises and some random ones, as padded token tensors.

A premise is encoded once a batch however many conjectures of the batch list it, so a random negative, a premise of
another conjecture of the batch, costs almost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurips16.training.data.deepmath.reader import Conjecture


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

    def chunks(self, indices: np.ndarray, max_tokens: int) -> Iterator[np.ndarray]:
        """Positions in ``indices``, sorted by length and cut so that a padded chunk holds at most ``max_tokens``."""
        order = np.argsort(self.lengths[indices], kind="stable")
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and self.lengths[indices[order[stop]]] * (stop + 1 - start) <= max_tokens:
                stop += 1
            yield order[start:stop]
            start = stop


@dataclass
class Statements:
    """Some statements of a store; their tokens are padded only when they are asked for."""

    store: TokenStore
    indices: np.ndarray  # int [S]
    max_tokens: int  # of one padded chunk: bounds the memory for its features

    def chunks(self) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Chunks of similar length: positions among these statements [B], tokens int64 [B, T], lengths int64 [B]."""
        for positions in self.store.chunks(self.indices, self.max_tokens):
            yield positions, *self.store.padded(self.indices[positions])


@dataclass
class Batch:
    """Pairs of a conjecture and a premise, as rows of two sets of statements."""

    conjectures: Statements  # of C statements
    premises: Statements  # of P statements
    pairs: Tensor  # int64 [M, 2]: row of the conjecture, row of the premise
    useful: Tensor  # float32 [M]: 1 for a useful premise, else 0
    listed: Tensor  # bool [M]: the data list the pair (False: a random or a mined negative)


def make_batch(
    conjectures: Sequence[Conjecture],
    store: TokenStore,
    *,
    random_negatives: int,
    pool: np.ndarray | None = None,
    mined: Mapping[int, np.ndarray],
    max_tokens: int,
    rng: np.random.Generator,
) -> Batch:
    """Join conjectures with their premises.

    Args:
        conjectures: C of them.
        store: the tokens of all statements.
        random_negatives: how many negatives each conjecture gets at random.
        pool: statements that they are drawn from; None: the premises of the batch's conjectures.
        mined: hard negatives (statement indices) by the conjecture's statement.
        max_tokens: see `Statements`.
        rng: chooses the random negatives.
    """
    none = np.empty(0, np.int32)
    hard = [mined.get(c.statement, none) for c in conjectures]
    lists = [np.concatenate([c.useful, c.useless]) for c in conjectures]
    own = np.unique(np.concatenate([*lists, *hard]))
    random = rng.choice(own if pool is None else pool, (len(conjectures), random_negatives))
    premises = np.union1d(own, random)
    pairs, useful, listed = [], [], []
    for row, (conjecture, mine, *others) in enumerate(zip(conjectures, lists, random, hard, strict=True)):
        # A premise that is listed here is no random negative; nor is the conjecture itself.
        drawn = np.setdiff1d(np.concatenate(others), np.append(mine, conjecture.statement))
        both = np.searchsorted(premises, np.concatenate([mine, drawn]))
        pairs.append(np.stack([np.full(len(both), row), both], axis=1))
        useful.append(np.arange(len(both)) < len(conjecture.useful))
        listed.append(np.arange(len(both)) < len(mine))
    return Batch(
        conjectures=Statements(store, np.array([c.statement for c in conjectures]), max_tokens),
        premises=Statements(store, premises, max_tokens),
        pairs=torch.from_numpy(np.concatenate(pairs)),
        useful=torch.from_numpy(np.concatenate(useful)).float(),
        listed=torch.from_numpy(np.concatenate(listed)),
    )


def neighbour_batches(
    conjectures: Sequence[Conjecture], run: int, batch: int, rng: np.random.Generator
) -> list[list[Conjecture]]:
    """One epoch, cut into batches that are made of random runs of ``run`` neighbours in library order.

    Neighbours share premises, so runs of 8 halve the statements that an epoch encodes, while a batch still spans
    many articles. The runs are cut at another offset each epoch, and each conjecture comes once.
    """
    ordered = sorted(conjectures, key=lambda c: c.statement)
    offset = int(rng.integers(run))
    runs = [ordered[max(0, i) : i + run] for i in range(-offset, len(ordered), run)]
    line = [conjecture for i in rng.permutation(len(runs)) for conjecture in runs[i]]
    return [line[i : i + batch] for i in range(0, len(line), batch)]
