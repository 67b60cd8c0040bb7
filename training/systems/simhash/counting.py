"""How often a code was seen: exactly, or in tables of prime sizes whose least cell is read."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from neurips16.training.systems.simhash.hashing import PAPER_PRIMES, keys


class Counts(Protocol):
    """What counts codes, bits uint8 [N, K]; it is saved with a run as plain values."""

    def add(self, bits: np.ndarray) -> None:
        """Count every row."""

    def read(self, bits: np.ndarray) -> np.ndarray:
        """Int64 [N]: how often each row was counted."""

    def state_dict(self) -> dict[str, Any]:
        """Everything counted."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class ExactCounts:
    """A dictionary."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, bits: np.ndarray) -> None:
        """Count every row."""
        for code in _packed(bits):
            self._seen[code] = self._seen.get(code, 0) + 1

    def read(self, bits: np.ndarray) -> np.ndarray:
        """Int64 [N]: how often each row was counted."""
        return np.array([self._seen.get(code, 0) for code in _packed(bits)], np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Everything counted."""
        return {"seen": {code.hex(): count for code, count in self._seen.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._seen = {bytes.fromhex(code): count for code, count in state["seen"].items()}


class TableCounts:
    """Six tables, each of which may confuse two codes, but hardly all the same two; a count is never too small."""

    def __init__(self, primes: tuple[int, ...] = PAPER_PRIMES):
        self.primes = primes
        self._tables = np.zeros((len(primes), max(primes)), np.int64)

    def add(self, bits: np.ndarray) -> None:
        """Count every row."""
        for table, own in zip(self._tables, keys(bits, self.primes).T, strict=True):
            np.add.at(table, own, 1)

    def read(self, bits: np.ndarray) -> np.ndarray:
        """Int64 [N]: at least how often each row was counted, and nearly always that."""
        found = [table[own] for table, own in zip(self._tables, keys(bits, self.primes).T, strict=True)]
        return np.min(found, axis=0)

    def state_dict(self) -> dict[str, Any]:
        """Everything counted."""
        return {"primes": list(self.primes), "tables": self._tables.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.primes, self._tables = tuple(state["primes"]), np.array(state["tables"])


def bonus(counts: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The exploration bonus β/√n float64 [N]; what was never counted gets that of n = 1."""
    return scale / np.sqrt(np.maximum(counts, 1))


def _packed(bits: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(bits, axis=1)]
