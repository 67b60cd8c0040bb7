"""Noise that follows from a seed, made inside the graph, so that a seed gives the same noise on every server.

It comes from whole numbers, see `neurips16.training.noise`; the upper 24 bits of an element are the uniform number.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurips16.export.spec import TensorSpec
from neurips16.training.noise import derive

MAX_SEED = 2**31 - 1


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
    return (derive(seed, torch.arange(count, device=seed.device)) >> 8).to(torch.float32) * 2.0**-24


def normal(seed: Tensor, count: int) -> Tensor:
    """Seeds int64 [N, 1] to standard normal numbers float32 [N, count], by Box and Muller's transform."""
    first, second = uniform(seed, 2 * count).chunk(2, dim=1)
    return torch.sqrt(-2.0 * torch.log(1.0 - first)) * torch.cos(2 * math.pi * second)
