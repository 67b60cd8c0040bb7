"""Exact mixing times: how many updates until every start is forgotten, to a total variation of ε.

One step is one update of one variable. All times come from powers of a matrix by repeated squaring and a descent
through the binary digits; total variation to the model never grows, since every update keeps the model as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from neurips16.training.errors import InvalidModelError
from neurips16.training.systems.gibbs.chain import Chain

EPSILON = 0.25
LARGEST_LAZY = 4096  # pairs of a place and a state
MOST_ORDERED = 7  # variables, all of whose orders are tried: 5040 of them
MOST_CUT = 20  # states, all of whose subsets are tried for the conductance
_MOST_DOUBLINGS = 50
_SUBSETS = 2**14  # at a time


def random_time(chain: Chain, epsilon: float = EPSILON) -> int:
    """The mixing time of random scan, in updates.

    Raises:
        InvalidModelError: ε is not in (0, 1); or the chain needs more than 2⁵⁰ updates.
    """
    steps, _ = _last_far(chain.random, chain.distance, epsilon)
    return steps + 1


def systematic_time(chain: Chain, order: Sequence[int], epsilon: float = EPSILON) -> int:
    """The mixing time of systematic scan in ``order``, a permutation of the variables, in updates.

    Raises:
        InvalidModelError: as `random_time`; or ``order`` is no permutation.
    """
    order = check_order(order, chain.variables)
    sweeps, rows = _last_far(chain.sweep(order), chain.distance, epsilon)
    for done, variable in enumerate(order, 1):
        rows = chain.update(rows, variable)
        if chain.distance(rows) <= epsilon:
            return sweeps * chain.variables + done
    raise AssertionError("a whole sweep more is near enough, says the search before")


def lazy_time(chain: Chain, order: Sequence[int], epsilon: float = EPSILON) -> int:
    """The mixing time of the lazy systematic scan, over starts in every state and at every place of ``order``.

    Raises:
        InvalidModelError: as `systematic_time`; or the pairs of place and state are more than `LARGEST_LAZY`.
    """
    order = check_order(order, chain.variables)
    pairs = chain.variables * chain.size
    if pairs > LARGEST_LAZY:
        raise InvalidModelError(
            f"the lazy scan has {chain.variables} × {chain.size} = {pairs} states, at most {LARGEST_LAZY} can be "
            "analysed: leave it out"
        )
    target = np.tile(chain.stationary, chain.variables) / chain.variables
    steps, _ = _last_far(chain.lazy(order), lambda rows: float(np.abs(rows - target).sum(1).max() / 2), epsilon)
    return steps + 1


def check_order(order: Sequence[int], variables: int) -> list[int]:
    """``order`` as a list.

    Raises:
        InvalidModelError: it is no permutation of 0 … variables - 1.
    """
    if sorted(order) != list(range(variables)):
        raise InvalidModelError(f"an order names each of the variables 0 … {variables - 1} once, got {list(order)}")
    return list(order)


def orders(variables: int, count: int | None, seed: int = 0) -> Iterator[tuple[int, ...]]:
    """All orders of the variables, or ``count`` random ones.

    Raises:
        InvalidModelError: there would be too many.
    """
    if count is None:
        if variables > MOST_ORDERED:
            raise InvalidModelError(
                f"{variables} variables have {math.factorial(variables)} orders: all are tried for {MOST_ORDERED} "
                "variables at most; give a number of random ones"
            )
        yield from permutations(range(variables))
        return
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield tuple(map(int, rng.permutation(variables)))


def named_orders(variables: int) -> dict[str, list[int]]:
    """Orders that are worth a try in any model, by name; each occurs once."""
    forward = list(range(variables))
    half = variables // 2
    pairs = [i for pair in zip(forward[:half], forward[half:], strict=False) for i in pair] + forward[2 * half :]
    found = {
        "forward": forward,
        "reverse": forward[::-1],
        "even-odd": forward[::2] + forward[1::2],
        "interleaved": pairs,
    }
    return {name: order for i, (name, order) in enumerate(found.items()) if order not in list(found.values())[:i]}


def curve(chain: Chain, order: Sequence[int] | None, steps: int, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Total variation over updates, of an order or, with None, of random scan.

    Args:
        chain: to start from every state.
        order: a permutation, or None.
        steps: how far.
        points: at most; an order's are at whole sweeps if they are not at every update.

    Returns:
        Steps int64 [P] and distances float64 [P], from step 0.
    """
    stride = max(1, -(-steps // points))
    if order is None:
        move: Callable[[np.ndarray, int], np.ndarray]
        jump = np.linalg.matrix_power(chain.random, stride)
        move = lambda rows, _: rows @ jump  # noqa: E731
    elif stride == 1:
        move = lambda rows, place: chain.update(rows, order[place % chain.variables])  # noqa: E731
    else:
        sweeps = -(-stride // chain.variables)
        stride = sweeps * chain.variables
        jump = np.linalg.matrix_power(chain.sweep(order), sweeps)
        move = lambda rows, _: rows @ jump  # noqa: E731
    rows, found = chain.start, [chain.distance(chain.start)]
    for place in range(-(-steps // stride)):
        rows = move(rows, place)
        found.append(chain.distance(rows))
    return np.arange(len(found)) * stride, np.array(found)


@dataclass(frozen=True)
class Conductance:
    """The least share of a set's probability that leaves it in one step, over sets of probability ½ at most."""

    value: float
    exact: bool  # else an upper bound: the best cut along the second eigenvector


def conductance(stationary: np.ndarray, matrix: np.ndarray) -> Conductance:
    """Of a chain with its stationary distribution [S] and its matrix [S, S]; exact for `MOST_CUT` states at most."""
    flow = stationary[:, None] * matrix
    flow = (flow + flow.T) / 2  # what flows out of a set flows in, so this changes nothing and makes it symmetric
    size = len(stationary)
    if size > MOST_CUT:
        root = np.sqrt(stationary)
        second = np.linalg.eigh(flow / np.outer(root, root))[1][:, -2] / root
        ranked = np.argsort(second)
        cuts = np.tril(np.ones((size - 1, size)))
        sets = np.zeros_like(cuts)
        sets[:, ranked] = cuts
        return Conductance(_min_cut(np.concatenate([sets, 1 - sets]), stationary, flow), False)
    best = math.inf
    for first in range(1, 2**size, _SUBSETS):
        numbers = np.arange(first, min(first + _SUBSETS, 2**size))
        sets = ((numbers[:, None] >> np.arange(size)) & 1).astype(np.float64)
        best = min(best, _min_cut(sets, stationary, flow))
    return Conductance(best, True)


@dataclass(frozen=True)
class Bound:
    """One inequality of the paper's theorem, ``left <= right``."""

    left: float
    right: float

    @property
    def holds(self) -> bool:
        """Whether it is true."""
        return self.left <= self.right


def bounds(chain: Chain, random: int, lazy: int, epsilon: float = EPSILON) -> tuple[Bound, Bound]:
    """The theorem's two relations between the mixing times of random scan and of lazy systematic scan.

    ``(½-ε)² t_R ≤ 2 t_S² ln(1/(ε π_min))`` and ``(½-ε)² t_S ≤ 8n²/(min P_i(x,x))² t_R² ln(1/(ε π_min))``.
    """
    left = (0.5 - epsilon) ** 2
    log = math.log(1 / (epsilon * chain.stationary.min()))
    return (
        Bound(left * random, 2 * lazy**2 * log),
        Bound(left * lazy, 8 * chain.variables**2 / chain.min_holding**2 * random**2 * log),
    )


def _last_far(matrix: np.ndarray, distance: Callable[[np.ndarray], float], epsilon: float) -> tuple[int, np.ndarray]:
    """The largest power of ``matrix`` that is farther than ``epsilon``, and that power; the start is power 0."""
    if not 0 < epsilon < 1:
        raise InvalidModelError(f"a total variation of {epsilon} is not between 0 and 1")
    powers = [matrix]
    while distance(powers[-1]) > epsilon:
        if len(powers) > _MOST_DOUBLINGS:
            raise InvalidModelError(
                f"the chain is not mixed after 2^{_MOST_DOUBLINGS} steps: its states hardly connect"
            )
        powers.append(powers[-1] @ powers[-1])
    if len(powers) == 1:
        return 0, np.eye(len(matrix))
    exponent, rows = 2 ** (len(powers) - 2), powers[-2]
    for place in range(len(powers) - 3, -1, -1):
        farther = rows @ powers[place]
        if distance(farther) > epsilon:
            exponent, rows = exponent + 2**place, farther
    return exponent, rows


def _min_cut(sets: np.ndarray, stationary: np.ndarray, flow: np.ndarray) -> float:
    """Of sets [K, S] of zeros and ones: the least conductance of those of probability ½ at most, or infinity."""
    held = sets @ stationary
    light = held <= 0.5 + 1e-12
    leaving = ((sets @ flow) * (1 - sets)).sum(1)
    return float((leaving[light] / held[light]).min()) if light.any() else math.inf
