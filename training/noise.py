"""Noise from integers alone: the same numbers in NumPy, in torch and in every runtime of an exported graph.

Element ``i`` of seed ``s`` is ``mix(mix(s) + i · 0x9E3779B9)`` modulo 2³², where `mix` is two rounds of
``x ← (x ⊕ x≫16) · 0x45D9F3B`` and a last ``x ⊕ x≫16``. Only operators are used here, so that an argument may be an
array or a tensor of INT64; the products stay below 2⁶³.
"""

from __future__ import annotations

from typing import Any

MASK, ODD, FACTOR = 2**32 - 1, 0x9E3779B9, 0x45D9F3B


def mix(x: Any) -> Any:
    """Whole numbers in [0, 2³²) to others that look unrelated to them; INT64 of any shape."""
    for _ in range(2):
        x = (x ^ (x >> 16)) * FACTOR & MASK
    return x ^ (x >> 16)


def derive(seed: Any, counter: Any) -> Any:
    """Element ``counter`` of ``seed``: a number in [0, 2³²), itself good as a seed. The two broadcast."""
    return mix((mix(seed & MASK) + counter * ODD) & MASK)
