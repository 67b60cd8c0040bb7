"""What can be sampled: Potts and binary pairwise models, and tables of states with their weights.

A Potts model gives ``x`` the weight ``exp(Σᵢ bᵢ(xᵢ) + Σᵢ﹤ⱼ Jᵢⱼ [xᵢ = xⱼ])``. A binary pairwise model,
``exp(Σᵢ θᵢ xᵢ + Σᵢ﹤ⱼ Wᵢⱼ xᵢ xⱼ)`` with ``xᵢ`` 0 or 1, is the Potts model of two states with ``J = W/2`` and
``bᵢ(1) = θᵢ + Σⱼ Wᵢⱼ/2``, since ``2 xᵢxⱼ = [xᵢ = xⱼ] - 1 + xᵢ + xⱼ``. A table names its states one by one, which
allows hard constraints; it can be analysed, and is not served.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurips16.training.errors import InvalidModelError

LARGEST_TABLE = 4096  # states: a square matrix of them is 128 MiB


@dataclass(frozen=True)
class Table:
    """States and their probabilities.

    Attributes:
        states: int64 [S, V], each row once.
        probabilities: float64 [S], positive, of sum 1.
    """

    states: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of(cls, states: Any, weights: Any) -> Table:
        """A table of states [S, V] and of weights [S] over zero, up to a factor.

        Raises:
            InvalidModelError: they are no such things, a state occurs twice, or there are too many.
        """
        states, weights = _numbers(states, "states", 2).astype(np.int64), _numbers(weights, "weights", 1)
        if len(states) != len(weights) or not len(states):
            raise InvalidModelError(f"a table has a weight for each state, got {len(states)} and {len(weights)}")
        if len(states) > LARGEST_TABLE:
            raise InvalidModelError(f"a table has at most {LARGEST_TABLE} states, got {len(states)}")
        if not (weights > 0).all():
            raise InvalidModelError("weights lie over 0: leave out the states that are impossible")
        if len(np.unique(states, axis=0)) != len(states):
            raise InvalidModelError("a state occurs twice in the table")
        return cls(states, weights / weights.sum())

    @property
    def variables(self) -> int:
        """How many."""
        return self.states.shape[1]


@dataclass(frozen=True)
class Potts:
    """A pairwise model whose variables agree or do not.

    Attributes:
        couplings: float64 [V, V], symmetric, zero on its diagonal.
        biases: float64 [V, Q], of each state.
    """

    couplings: np.ndarray
    biases: np.ndarray

    @classmethod
    def of(cls, couplings: Any, biases: Any) -> Potts:
        """A Potts model.

        Raises:
            InvalidModelError: the couplings are not symmetric with a diagonal of zeros, or the shapes do not fit.
        """
        couplings, biases = _numbers(couplings, "couplings", 2), _numbers(biases, "biases", 2)
        variables, states = biases.shape
        if couplings.shape != (variables, variables) or not variables:
            raise InvalidModelError(
                f"{variables} variables have couplings [{variables}, {variables}], got {list(couplings.shape)}"
            )
        if states < 2:
            raise InvalidModelError(f"a variable has at least 2 states, got biases for {states}")
        if not np.array_equal(couplings, couplings.T) or couplings.diagonal().any():
            raise InvalidModelError("couplings are symmetric, with zeros on the diagonal")
        return cls(couplings, biases)

    @classmethod
    def binary(cls, weights: Any, biases: Any) -> Potts:
        """The binary pairwise model of weights W [V, V] and biases θ [V]; errors as `of`."""
        weights, biases = _numbers(weights, "couplings", 2), _numbers(biases, "biases", 1)
        if weights.shape != (len(biases), len(biases)):
            raise InvalidModelError(f"{len(biases)} biases need as many rows and columns, got {list(weights.shape)}")
        return cls.of(weights / 2, np.stack([np.zeros(len(biases)), biases + weights.sum(1) / 2], 1))

    @property
    def variables(self) -> int:
        """How many."""
        return len(self.biases)

    @property
    def states(self) -> int:
        """Of each variable."""
        return self.biases.shape[1]

    def table(self) -> Table:
        """Every state with its probability, by enumeration.

        Raises:
            InvalidModelError: there are more than `LARGEST_TABLE`.
        """
        count = self.states**self.variables
        if count > LARGEST_TABLE:
            raise InvalidModelError(
                f"{self.variables} variables of {self.states} states have {count} states together: exact figures are "
                f"for {LARGEST_TABLE} at most"
            )
        states = np.indices((self.states,) * self.variables).reshape(self.variables, -1).T  # [S, V]
        logs = self.biases[np.arange(self.variables), states].sum(1)
        agree = states[:, :, None] == states[:, None, :]
        logs = logs + (agree * self.couplings).sum((1, 2)) / 2
        return Table.of(states, np.exp(logs - logs.max()))


def read_model(path: Path) -> Potts | Table:
    """The model of a JSON file.

    It is ``{"couplings": [[…]], "biases": [θ…]}`` for a binary model, the same with ``[[b(0), b(1), …], …]`` for a
    Potts model, and ``{"states": [[…]], "weights": […]}`` for a table.

    Raises:
        InvalidModelError: the file cannot be read, or says none of these.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidModelError(f"{path} cannot be read as JSON: {error}") from error
    if isinstance(found, dict):
        if set(found) == {"states", "weights"}:
            return Table.of(found["states"], found["weights"])
        if set(found) == {"couplings", "biases"}:
            nested = isinstance(found["biases"], list) and any(isinstance(b, list) for b in found["biases"])
            return (Potts.of if nested else Potts.binary)(found["couplings"], found["biases"])
    raise InvalidModelError(f'{path}: expected an object of "couplings" and "biases", or of "states" and "weights"')


def _numbers(value: Any, name: str, axes: int) -> np.ndarray:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidModelError(f"{name}: expected numbers with {axes} axes, rows of equal length") from error
    if array.ndim != axes:
        raise InvalidModelError(f"{name}: expected {axes} axes, got {array.ndim}")
    if not np.isfinite(array).all():
        raise InvalidModelError(f"{name}: a number is infinite or none")
    return array
