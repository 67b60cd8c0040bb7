"""The models of the paper's section 3 whose definitions are at hand, as tables.

Two others, "memorize and swap" and "soft dependencies", are in the paper's table only: their exact definitions were not
at hand, and a guess would be no reproduction.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurips16.training.errors import InvalidModelError
from neurips16.training.systems.gibbs.models import Table

LARGEST = {"sequence": 256, "islands": 10, "pyramid": 256}


def sequence(size: int, strength: float | None = None) -> Table:
    """Sequence of dependencies: a variable may be 1 only if the one before it is; k ones weigh ``strength``ᵏ.

    Args:
        size: variables.
        strength: the weight of a one, large; None takes size².
    """
    states = np.tri(size + 1, size, -1, dtype=np.int64)  # row k: k ones, then zeros
    logs = np.arange(size + 1) * np.log(strength or size**2)
    return Table.of(states, np.exp(np.maximum(logs - logs.max(), -700)))  # the least weights would be 0 in FP64


def islands(size: int) -> Table:
    """Two islands: two groups of ``size`` variables, of which one at most has a one; all such states alike."""
    bits = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    nothing = np.zeros_like(bits)
    states = np.concatenate([np.concatenate([bits, nothing], 1), np.concatenate([nothing, bits], 1)[1:]])
    return Table.of(states, np.ones(len(states)))


def pyramid(size: int) -> Table:
    """Discrete pyramid, after Roberts and Rosenthal: one variable at most is 1; all such states alike."""
    return Table.of(np.concatenate([np.zeros((1, size)), np.eye(size)]), np.ones(size + 1))


EXAMPLES: dict[str, Callable[[int], Table]] = {"sequence": sequence, "islands": islands, "pyramid": pyramid}


def example(text: str) -> Table:
    """The example of a text such as ``pyramid:8``.

    Raises:
        InvalidModelError: there is none of that name, or its size is not possible.
    """
    name, _, size = text.partition(":")
    if name not in EXAMPLES:
        raise InvalidModelError(f"there is no example {name!r}; there are: {', '.join(sorted(EXAMPLES))}")
    if not size.isdecimal() or not 2 <= int(size) <= LARGEST[name]:
        raise InvalidModelError(f"example {name!r} has a size from 2 to {LARGEST[name]}: {name}:8, got {text!r}")
    return EXAMPLES[name](int(size))
