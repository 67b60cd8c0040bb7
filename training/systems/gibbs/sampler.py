"""Gibbs sampling of Potts models with a choice of scan orders, many chains at a time.

Everything random comes from whole numbers (`neurips16.training.noise`), so that a seed decides the draw in every
runtime. Chain c has the seed ``derive(seed, c)``; its update t has the two numbers ``derive(·, 2t)`` and
``derive(·, 2t + 1)``: the first picks the state, the second the variable (random scan), what the place of a shuffled
sweep is swapped with (Fisher and Yates), or whether to move at all (lazy scan).

A uniform number is the middle of one of 2³² equal parts of (0, 1): it never meets a probability such as ½, so that sums
in another order, which differ in their last bit, lead to the same states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.training.errors import InvalidModelError
from neurips16.training.noise import derive
from neurips16.training.systems.gibbs.models import Potts

SCANS = ("systematic", "random", "shuffled", "lazy")  # by the number that the served model takes


@dataclass(frozen=True)
class Draw:
    """What a run of C chains leaves.

    Attributes:
        states: int64 [C, V], after the last update.
        marginals: float64 [V, Q], over the ends of all sweeps after the burn-in.
        effective: float64 [V], independent draws worth as much, judged by how far the chains' means lie apart; all
            draws for a variable that never changed (ArviZ's convention), else NaN for a single chain.
        trace: int64 [C, sweeps, V], after each sweep; None unless asked for.
    """

    states: np.ndarray
    marginals: np.ndarray
    effective: np.ndarray
    trace: np.ndarray | None = None


def sample(
    model: Potts,
    *,
    scan: str = "systematic",
    order: Sequence[int] | None = None,
    start: np.ndarray | None = None,
    chains: int = 64,
    burn_in: int = 100,
    sweeps: int = 1000,
    seed: int = 0,
    trace: bool = False,
) -> Draw:
    """Draw from a model.

    Args:
        model: of V variables with Q states each.
        scan: one of `SCANS`.
        order: of the variables, which a shuffled scan starts from and a random one does not need; None is 0 … V - 1.
        start: int64 [C, V]; None: each chain's variables in the state ``(c + v) mod Q``.
        chains: how many, without a start.
        burn_in: sweeps whose states are not counted; a sweep is V updates, of whichever variables.
        sweeps: counted, at least 1.
        seed: of everything random, at least 0.
        trace: keep the states after each counted sweep.

    Raises:
        InvalidModelError: an argument does not fit the model.
    """
    variables, states = model.biases.shape
    order = list(range(variables)) if order is None else list(order)
    if scan not in SCANS:
        raise InvalidModelError(f"there is no scan {scan!r}; there are: {', '.join(SCANS)}")
    if sorted(order) != list(range(variables)):
        raise InvalidModelError(f"an order names each of the variables 0 … {variables - 1} once, got {order}")
    if start is None:
        start = (np.arange(chains)[:, None] + np.arange(variables)) % states
    state = np.array(start, np.int64)
    fits = state.ndim == 2 and len(state) and state.shape[1] == variables
    if not fits or state.min() < 0 or state.max() >= states:
        raise InvalidModelError(f"a start has {variables} columns of states 0 … {states - 1}, got {np.shape(start)}")
    if sweeps < 1 or burn_in < 0 or seed < 0:
        raise InvalidModelError("sweeps are at least 1, burn-in and seed at least 0")
    rows = np.arange(len(state))
    seeds = derive(np.int64(seed), rows)  # [C]
    kept: list[np.ndarray] = []
    counts = np.zeros((len(state), variables, states))
    advance = np.zeros(len(state), np.int64)
    shuffled = np.tile(np.array(order, np.int64), (len(state), 1))
    for step in range((burn_in + sweeps) * variables):
        place, second = step % variables, derive(seeds, 2 * step + 1)
        moving = np.ones(len(state), bool)
        if scan == "random":
            chosen = second * variables >> 32
        elif scan == "shuffled":
            other = place + (second * (variables - place) >> 32)
            shuffled[rows, other], shuffled[:, place] = shuffled[:, place].copy(), shuffled[rows, other]
            chosen = shuffled[:, place]
        else:
            moving = (second >> 31 == 1) if scan == "lazy" else moving
            chosen = np.array(order)[advance % variables]
            advance += moving
        logits = _logits(model, state, chosen)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        reached = np.cumsum(weights, 1)
        uniform = (derive(seeds, 2 * step) + 0.5) * 2.0**-32
        new = (reached[:, :-1] <= uniform[:, None] * reached[:, -1:]).sum(1)
        state[rows[moving], chosen[moving]] = new[moving]
        if place == variables - 1 and step >= burn_in * variables:
            counts += state[:, :, None] == np.arange(states)
            if trace:
                kept.append(state.copy())
    means = counts / sweeps
    return Draw(state, means.mean(0), effective_draws(means, sweeps), np.stack(kept, 1) if trace else None)


def effective_draws(means: np.ndarray, sweeps: int) -> np.ndarray:
    """How many independent draws the chains' means [C, V, Q] of ``sweeps`` each are worth, float64 [V].

    The variance of one draw, over that of the overall mean as the chains' spread shows it; at most all draws. A
    variable that never changed has neither variance: all its draws count, as in ArviZ's ``ess``.
    """
    chains = len(means)
    overall = means.mean(0)
    spread = ((means - overall) ** 2).sum((0, 2)) / (chains - 1) if chains > 1 else np.full(len(overall), np.nan)
    single = (overall * (1 - overall)).sum(1)
    every = np.full(len(overall), float(chains * sweeps))
    return np.divide(chains * single, np.maximum(spread, single / sweeps), out=every, where=single > 0)


def _logits(model: Potts, state: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Logarithms [C, Q] of the weights of each state of each chain's ``chosen`` variable [C]."""
    agree = state[:, :, None] == np.arange(model.states)
    return model.biases[chosen] + (model.couplings[chosen][:, :, None] * agree).sum(1)
