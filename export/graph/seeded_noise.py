"""Noise that follows from a seed, made inside the graph, so that a seed gives the same noise on every server.

A counter-based generator over integers: element i of seed s is ``mix(mix(s) + i · 0x9E3779B9)`` modulo 2³², where
``mix`` is two rounds of ``x ← (x ⊕ x≫16) · 0x45D9F3B`` and a last ``x ⊕ x≫16``. Its upper 24 bits are the uniform
number.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurips16.export.spec import TensorSpec

MAX_SEED = 2**31 - 1
_MASK, _ODD, _FACTOR = 2**32 - 1, 0x9E3779B9, 0x45D9F3B  # the products stay below 2⁶³


def seed_input() -> TensorSpec:
    """The input that decides the noise of each row."""
    return TensorSpec(
        "seed",
        "INT64",
        ("N", 1),
        "decides the noise: the same seed gives the same image on any server",
        range=(0, MAX_SEED),
    )


def uniform(seed: Tensor, count: int) -> Tensor:
    """Seeds int64 [N, 1] to numbers float32 [N, count] in [0, 1), multiples of 2⁻²⁴."""
    counters = torch.arange(count, device=seed.device) * _ODD
    return (_mix(_mix(seed & _MASK) + counters & _MASK) >> 8).to(torch.float32) * 2.0**-24


def normal(seed: Tensor, count: int) -> Tensor:
    """Seeds int64 [N, 1] to standard normal numbers float32 [N, count], by Box and Muller's transform."""
    first, second = uniform(seed, 2 * count).chunk(2, dim=1)
    return torch.sqrt(-2.0 * torch.log(1.0 - first)) * torch.cos(2 * math.pi * second)


def _mix(x: Tensor) -> Tensor:
    for _ in range(2):
        x = (x ^ (x >> 16)) * _FACTOR & _MASK
    return x ^ (x >> 16)
