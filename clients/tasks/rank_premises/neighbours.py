"""What similarity says about premises: TF-IDF of symbols, and the votes of similar statements whose proofs are known.

A symbol of a statement weighs ``(1 + ln tf) * idf`` with ``idf = ln((1 + N) / (1 + df)) + 1`` over the N candidates;
similarity is the cosine of two such vectors. The `NEIGHBOURS` most similar statements with a known proof vote with
their similarity for the premises of that proof and for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.clients.tasks.rank_premises.words import CONNECTIVE_HASHES

NEIGHBOURS = 128
NOTHING = 0  # stands in a statement that has no symbol, so that none is empty
# Chosen on the validation split of Mizar40; `deploy/cards/deepmath.py` measures them on its test split.
COSINE_WEIGHT = 6.0
VOTE_FLOOR = 0.05


@dataclass(frozen=True)
class SymbolTable:
    """The symbols of some statements, one statement's behind the other's."""

    symbols: np.ndarray  # int64 [V]: hashes, ascending
    terms: np.ndarray  # int32 [M]: places among the symbols
    weights: np.ndarray  # float32 [M]: 1 + ln tf
    starts: np.ndarray  # int64 [n + 1]: where each statement begins

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, hashes: Sequence[np.ndarray]) -> SymbolTable:
        """Count the symbols among the words of statements."""
        flat = np.concatenate([np.empty(0, np.int64), *hashes])
        owners = np.repeat(np.arange(len(hashes)), np.array([len(h) for h in hashes], np.int64))
        kept = ~np.isin(flat, CONNECTIVE_HASHES)
        flat, owners = flat[kept], owners[kept]
        bare = np.flatnonzero(np.bincount(owners, minlength=len(hashes)) == 0)
        flat, owners = np.append(flat, np.full(len(bare), NOTHING)), np.append(owners, bare)
        symbols, terms = np.unique(flat, return_inverse=True)
        cells, tf = np.unique(owners * max(1, len(symbols)) + terms, return_counts=True)
        rows = cells // max(1, len(symbols))
        terms = (cells % max(1, len(symbols))).astype(np.int32)
        weights = np.where(symbols[terms] == NOTHING, 0.0, 1 + np.log(tf)).astype(np.float32)
        return cls(symbols, terms, weights, np.searchsorted(rows, np.arange(len(hashes) + 1)))

    def joined(self, other: SymbolTable) -> SymbolTable:
        """These statements and then those of another table."""
        symbols = np.union1d(self.symbols, other.symbols)
        terms = [np.searchsorted(symbols, t.symbols).astype(np.int32)[t.terms] for t in (self, other)]
        return SymbolTable(
            symbols,
            np.concatenate(terms),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.starts, self.starts[-1] + other.starts[1:]]),
        )

    def sums(self, of_symbol: np.ndarray, *, squared: bool = False) -> np.ndarray:
        """For each statement the sum over its symbols of weight times a number per symbol [V]; or of the squares."""
        if not len(self):
            return np.empty(0, np.float32)
        products = of_symbol[self.terms] * self.weights
        return np.add.reduceat(products * products if squared else products, self.starts[:-1])


@dataclass(frozen=True)
class Proofs:
    """Which premises the proofs of some statements need; both are places in one list of statements."""

    proved: np.ndarray  # int64 [R]: the statement of each pair
    premises: np.ndarray  # int64 [R]: a premise of its proof

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Proofs:
        """From pairs of a proved statement and a premise."""
        both = np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)
        return cls(both[:, 0], both[:, 1])


class Neighbours:
    """Similarity and votes over a list of statements, which may be in several tables.

    Args:
        tables: the symbols of the statements.
        proofs: of those whose proofs are known.
    """

    def __init__(self, tables: Sequence[SymbolTable], proofs: Proofs | None = None):
        self._tables = [table for table in tables if len(table)]
        self._size = sum(map(len, self._tables))
        self._proofs = proofs if proofs is not None and len(proofs.proved) else None
        self._symbols, idf = self._count()
        self._idf = idf
        norms = [np.sqrt(t.sums(self._idf_of(t), squared=True)) for t in self._tables]
        self._norms = [np.maximum(n, np.float32(1e-6)) for n in norms]

    def _count(self) -> tuple[np.ndarray, np.ndarray]:
        """All symbols, and the idf of each."""
        symbols = np.unique(np.concatenate([np.empty(0, np.int64), *(t.symbols for t in self._tables)]))
        frequency = np.zeros(len(symbols))
        for table in self._tables:
            counts = np.bincount(table.terms, minlength=len(table.symbols))
            frequency[np.searchsorted(symbols, table.symbols)] += counts
        return symbols, (np.log((1 + self._size) / (1 + frequency)) + 1).astype(np.float32)

    def _idf_of(self, table: SymbolTable) -> np.ndarray:
        return self._idf[np.searchsorted(self._symbols, table.symbols)]

    def similarity(self, hashes: np.ndarray) -> np.ndarray:
        """The cosine of a statement, given as the hashes of its words, with each of the list, float32 [N]."""
        wanted = SymbolTable.of([hashes])
        rare = np.float32(np.log(1 + self._size) + 1)  # the idf of a symbol that none of the list has
        idf = np.full(len(wanted.symbols), rare)
        places = np.searchsorted(self._symbols, wanted.symbols)
        found = places < len(self._symbols)
        found[found] = self._symbols[places[found]] == wanted.symbols[found]
        idf[found] = self._idf[places[found]]
        weights = np.zeros(len(wanted.symbols), np.float32)
        weights[wanted.terms] = wanted.weights
        weights *= idf
        norm = max(float(np.linalg.norm(weights)), 1e-6)
        parts = [np.empty(0, np.float32)]
        for table, norms in zip(self._tables, self._norms, strict=True):
            of_symbol = np.zeros(len(table.symbols), np.float32)
            at = np.searchsorted(table.symbols, wanted.symbols)
            here = at < len(table.symbols)
            here[here] = table.symbols[at[here]] == wanted.symbols[here]
            own_idf = self._idf_of(table)
            of_symbol[at[here]] = weights[here] * own_idf[at[here]] / norm
            parts.append(table.sums(of_symbol) / norms)
        return np.concatenate(parts)

    def votes(self, similarity: np.ndarray, before: int | None = None) -> np.ndarray | None:
        """The votes for each statement, float32 [N]; None where no proof is known.

        Args:
            similarity: of the conjecture, as `similarity` gives it.
            before: only proofs of statements before this place are known.
        """
        if self._proofs is None:
            return None
        proved, premises = self._proofs.proved, self._proofs.premises
        if before is not None:
            known = proved < before
            proved, premises = proved[known], premises[known]
        votes = np.zeros(len(similarity), np.float32)
        voters = np.unique(proved)
        if len(voters) > NEIGHBOURS:
            voters = voters[np.argpartition(-similarity[voters], NEIGHBOURS)[:NEIGHBOURS]]
        votes[voters] += similarity[voters]
        cast = np.isin(proved, voters)
        np.add.at(votes, premises[cast], similarity[proved[cast]])
        return votes


def combine(method: str, network: np.ndarray | None, similarity: np.ndarray, votes: np.ndarray | None) -> np.ndarray:
    """The scores of a method: "network", "neighbours", or "hybrid", the sum of what both know.

    Args:
        method: one of these.
        network: the network's scores [N]; not needed by "neighbours".
        similarity: of `Neighbours` [N].
        votes: of `Neighbours` [N], or None.
    """
    if method == "network":
        assert network is not None  # the caller has asked for it
        return network
    if method == "neighbours":
        return similarity if votes is None else votes + np.float32(1e-3) * similarity
    assert network is not None  # the same
    scores = network + np.float32(COSINE_WEIGHT) * similarity
    return scores if votes is None else scores + np.log(np.float32(VOTE_FLOOR) + votes)
