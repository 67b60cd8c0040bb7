"""How the learning rate changes over a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig


def scheduled(
    optimizer: torch.optim.Optimizer, *, warmup_steps: int = 0, decay_steps: int = 0, milestones: Sequence[int] = ()
) -> OptimizerLRSchedulerConfig:
    """An optimiser whose learning rate rises linearly from zero, and then falls.

    Args:
        optimizer: with the highest learning rate.
        warmup_steps: optimiser steps over which it rises; 0: it starts there.
        decay_steps: the step at which it has fallen to zero along half a cosine; 0: not so.
        milestones: steps at which it falls to a tenth.
    """

    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / decay_steps))) if decay_steps else 1.0
        return rise * cosine * 0.1 ** sum(step >= milestone for milestone in milestones)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
