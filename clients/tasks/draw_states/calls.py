"""States of a Potts or binary pairwise model, drawn by the served Gibbs sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.operation import Operation

MODEL = "gibbs_sampler"


@dataclass(frozen=True)
class DrawnStates:
    """What C chains left.

    Attributes:
        states: int64 [C, V], after the last update.
        marginals: float64 [V, Q], over the ends of all counted sweeps.
        effective_draws: float64 [V], how many independent draws they are worth; all of them for a variable that never
            changed, else NaN for a single chain.
    """

    states: np.ndarray
    marginals: np.ndarray
    effective_draws: np.ndarray


def draw_states(
    couplings: np.ndarray,
    biases: np.ndarray,
    *,
    scan: str = "systematic",
    order: Sequence[int] | None = None,
    chains: int = 64,
    start: np.ndarray | None = None,
    burn_in: int = 100,
    sweeps: int = 1000,
    seed: int = 0,
) -> Operation[DrawnStates]:
    """Draw from a model; the same seed draws the same on any server.

    Args:
        couplings: [V, V], symmetric with zeros on the diagonal. With ``biases`` [V, Q] entry (i, j) rewards equal
            states (a Potts model); with ``biases`` [V] it rewards that both variables are 1 (a binary model).
        biases: of each state [V, Q], or of being 1 [V].
        scan: systematic, random, shuffled or lazy.
        order: a permutation of the variables; None is 0 … V - 1.
        chains: how many run side by side, where there is no start.
        start: int [C, V]; None spreads the chains over the states.
        burn_in: sweeps of V updates that are not counted.
        sweeps: that are.
        seed: of everything random.

    Raises:
        InvalidInputError: an argument does not fit another, or is out of its range.
        UnexpectedReplyError: the server's model is another.
    """
    try:
        couplings, biases = np.asarray(couplings, np.float64), np.asarray(biases, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError("couplings and biases are arrays of numbers") from error
    variables = len(biases) if biases.ndim else 0
    if biases.ndim not in (1, 2) or not variables or couplings.shape != (variables, variables):
        raise InvalidInputError(
            f"V variables have couplings [V, V] and biases [V] or [V, Q], got {list(couplings.shape)} and "
            f"{list(biases.shape)}"
        )
    if not np.isfinite(couplings).all() or not np.isfinite(biases).all():
        raise InvalidInputError("couplings and biases are finite")
    if not np.array_equal(couplings, couplings.T) or couplings.diagonal().any():
        raise InvalidInputError("couplings are symmetric, with zeros on the diagonal")
    if biases.ndim == 1:  # 2 xᵢxⱼ = [xᵢ = xⱼ] - 1 + xᵢ + xⱼ
        biases = np.stack([np.zeros(variables), biases + couplings.sum(1) / 2], 1)
        couplings = couplings / 2
    states = biases.shape[1]
    order = list(range(variables)) if order is None else list(order)
    if sorted(order) != list(range(variables)):
        raise InvalidInputError(f"order names each of 0 … {variables - 1} once, got {order}")
    if start is None:
        start = (np.arange(max(1, chains))[:, None] + np.arange(variables)) % states
    start = np.asarray(start, np.int64)
    if start.ndim != 2 or start.shape[1] != variables or not len(start) or start.min() < 0 or start.max() >= states:
        raise InvalidInputError(f"start is [C, {variables}] of states 0 … {states - 1}, got {list(start.shape)}")
    (config,) = yield [messages.model_config(MODEL)]
    try:
        scans = config.parameters["scans"].split()
        ranges = {name: config.parameters[f"{name}_range"].split() for name in ("burn_in", "sweeps", "seed")}
    except KeyError as error:
        raise UnexpectedReplyError(f"model {MODEL!r} does not say which scans it knows: it is another") from error
    if scan not in scans:
        raise InvalidInputError(f"scan is one of {', '.join(scans)}, got {scan!r}")
    for name, value in (("burn_in", burn_in), ("sweeps", sweeps), ("seed", seed)):
        low, high = (int(float(word)) for word in ranges[name])
        if not low <= value <= high:
            raise InvalidInputError(f"{name} lies in {low} … {high}, got {value}")
    numbers = {"scan": scans.index(scan), "burn_in": burn_in, "sweeps": sweeps, "seed": seed}
    inputs = {
        "couplings": couplings[None],
        "biases": biases[None],
        "order": np.array([order]),
        "start": start[None],
        **{name: np.array([[value]]) for name, value in numbers.items()},
    }
    (answer,) = yield [messages.infer(MODEL, inputs)]
    found = [answer.get(name) for name in ("states", "marginals", "effective_draws")]
    shapes = [(1, *start.shape), (1, *biases.shape), (1, variables)]
    if any(array is None or array.shape != shape for array, shape in zip(found, shapes, strict=True)):
        raise UnexpectedReplyError(f"model {MODEL!r} did not answer with states, marginals and effective_draws")
    return DrawnStates(*(array[0] for array in found if array is not None))
