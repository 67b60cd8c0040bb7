"""The ranking loss: a needed premise against everything that stands before the conjecture in the library.

A batch holds a part of the library, in which premises of many conjectures come up more often than others. Each
negative is therefore divided by its chance of being in a batch (`batches.log_chances`); the sum over the
batch's negatives then stands for that over the whole library, and popular premises are not marked down.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def ranking_loss(scores: Tensor, needed: Tensor, earlier: Tensor, log_chance: Tensor) -> Tensor:
    """``softplus(logsumexp_n(s_n - ln P_n) - s)``, the mean over a conjecture's needed premises, then over conjectures.

    Args:
        scores: of every conjecture and every premise of the batch [C, P].
        needed: whether the premise is needed, bool [C, P]; at least one in each row.
        earlier: whether the premise stands before the conjecture, bool [C, P].
        log_chance: ln P_n for each premise [P].
    """
    negatives = (scores - log_chance).masked_fill(needed | ~earlier, -torch.inf)
    # A conjecture at the very start of a library may have no negatives; -inf would have no gradient.
    against = torch.logsumexp(F.pad(negatives, (0, 1), value=-1e4), dim=1, keepdim=True)
    losses = F.softplus(against - scores).masked_fill(~needed, 0.0).sum(dim=1) / needed.sum(dim=1)
    return losses.mean()
