"""The Markov chain of a table: what resampling one variable does to distributions over its states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from neurips16.training.errors import InvalidModelError
from neurips16.training.systems.gibbs.models import Table


class Chain:
    """Updates of single variables, as maps of distributions.

    The states that differ in variable i alone form a group; an update of i moves the probability of a group to its
    members in proportion to the model's probabilities. So no matrix of an update is needed.

    Args:
        table: the model.

    Raises:
        InvalidModelError: single updates do not lead from every state to every other.
    """

    def __init__(self, table: Table):
        self.table = table
        self.stationary = table.probabilities  # [S]
        self.size, self.variables = table.states.shape
        self._groups = []  # of each variable: group of each state [S], states by group [S], starts, shares [S]
        for variable in range(self.variables):
            others = np.delete(table.states, variable, axis=1)
            group = np.unique(others, axis=0, return_inverse=True)[1].reshape(-1) if others.shape[1] else None
            if group is None:
                group = np.zeros(self.size, np.int64)
            by_group = np.argsort(group, kind="stable")
            starts = np.flatnonzero(np.diff(group[by_group], prepend=-1))
            share = self.stationary / np.add.reduceat(self.stationary[by_group], starts)[group]
            self._groups.append((group, by_group, starts, share))
        self._check_connected()

    def update(self, rows: np.ndarray, variable: int) -> np.ndarray:
        """Distributions float64 [R, S] after an update of ``variable``."""
        group, by_group, starts, share = self._groups[variable]
        return np.add.reduceat(rows[:, by_group], starts, axis=1)[:, group] * share

    @property
    def start(self) -> np.ndarray:
        """The distributions [S, S] before any update: each state by itself."""
        return np.eye(self.size)

    @cached_property
    def random(self) -> np.ndarray:
        """The matrix [S, S] of one update of random scan: the mean of all updates."""
        return sum(self.update(self.start, i) for i in range(self.variables)) / self.variables  # type: ignore[return-value]

    def sweep(self, order: Sequence[int]) -> np.ndarray:
        """The matrix [S, S] of the updates of ``order``, one after the other."""
        rows = self.start
        for variable in order:
            rows = self.update(rows, variable)
        return rows

    def lazy(self, order: Sequence[int]) -> np.ndarray:
        """The matrix [V·S, V·S] of the lazy systematic scan, on pairs (place in the order, state)."""
        size = self.size
        matrix = np.eye(self.variables * size) / 2
        for place, variable in enumerate(order):
            after = (place + 1) % self.variables
            moved = self.update(self.start, variable) / 2
            matrix[place * size : (place + 1) * size, after * size : (after + 1) * size] += moved
        return matrix

    @cached_property
    def min_holding(self) -> float:
        """The least probability, over states and variables, that an update changes nothing."""
        return float(min(share.min() for _, _, _, share in self._groups))

    def distance(self, rows: np.ndarray) -> float:
        """The largest total variation between distributions [R, S] and the model."""
        return float(np.abs(rows - self.stationary).sum(1).max() / 2)

    def _check_connected(self) -> None:
        label = np.arange(self.size)
        while True:
            before = label
            for group, by_group, starts, _ in self._groups:
                label = np.minimum.reduceat(label[by_group], starts)[group]
            if np.array_equal(label, before):
                break
        if label.any():
            lost = self.table.states[np.flatnonzero(label)[0]]
            raise InvalidModelError(
                f"updates of single variables never lead from state {self.table.states[0].tolist()} to state "
                f"{lost.tolist()}: Gibbs sampling cannot sample this model"
            )
