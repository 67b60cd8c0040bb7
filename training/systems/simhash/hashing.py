"""SimHash: the signs of fixed random projections, as bits, and their keys in tables of prime sizes.

The projections are whole numbers over 2¹⁶, each the sum of twelve uniform ones less its mean: normal for all purposes
here, of variance 1, and the same in every runtime. Products with FP32 states are exact in FP64, so that a sign is never
a matter of rounding.
"""

from __future__ import annotations

import numpy as np

from neurips16.training.errors import InvalidModelError
from neurips16.training.noise import derive

MOST_BITS = 512
PAPER_PRIMES = (999931, 999953, 999959, 999961, 999979, 999983)  # of the released code; together six million cells
SMALL_PRIMES = (262103, 262109, 262111, 262121, 262127, 262139)  # a quarter of that: 6 MiB of INT32
_HALF = 2**15


def projections(size: int, bits: int, seed: int = 0) -> np.ndarray:
    """Float64 [size, bits]: row i and column j depend on i, j and the seed alone."""
    if not 0 < bits <= MOST_BITS or size < 1:
        raise InvalidModelError(f"states have a size over 0, codes 1 … {MOST_BITS} bits: got {size} and {bits}")
    place = np.arange(size)[:, None] * MOST_BITS + np.arange(bits)
    total = np.zeros((size, bits), np.int64)
    for part in range(6):
        drawn = derive(np.int64(seed), place * 6 + part)
        total += (drawn >> 16) + (drawn & 0xFFFF) - 2 * _HALF + 1
    return total * 2.0**-16


class SimHash:
    """States to codes.

    Args:
        size: of a state.
        bits: of a code; more of them tell more states apart.
        seed: of the projections, which must be the same for as long as codes are compared.
    """

    def __init__(self, size: int, bits: int, seed: int = 0):
        self.projections = projections(size, bits, seed)

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """States float32 [N, D] to bits uint8 [N, K]: 1 where the projection is at least 0."""
        states = np.asarray(states, np.float32)
        if states.ndim != 2 or states.shape[1] != len(self.projections):
            raise InvalidModelError(f"expected states [N, {len(self.projections)}], got {list(states.shape)}")
        return (states.astype(np.float64) @ self.projections >= 0).astype(np.uint8)


def keys(bits: np.ndarray, primes: tuple[int, ...] = PAPER_PRIMES) -> np.ndarray:
    """Bits uint8 [N, K] to int64 [N, B]: the number Σ bitᵢ 2ⁱ modulo each prime."""
    return bits.astype(np.int64) @ powers(bits.shape[1], primes) % np.array(primes)


def powers(bits: int, primes: tuple[int, ...]) -> np.ndarray:
    """2ⁱ modulo each prime, int64 [K, B]; sums of them stay far below 2⁶³."""
    return np.array([[pow(2, i, prime) for prime in primes] for i in range(bits)], np.int64)
