"""What a model remembers of single statements, and what the tower of premises makes of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurips16.training.data.deepmath.usage import KEY_BUCKETS, KEY_FACTORS, UsageTable

WAYS = 8  # statements of a bucket that are looked at; of the library's 62,000 in 2^17 buckets, no bucket has more
FEATURES = 3


class UsageMemory(nn.Module):
    """How often training listed a statement as useful and as useless, looked up by the statement's words.

    Args:
        size: statements that are remembered.
    """

    def __init__(self, size: int):
        super().__init__()
        self.starts: Tensor
        self.prints: Tensor
        self.counts: Tensor
        self.factors: Tensor
        self.register_buffer("starts", torch.zeros(KEY_BUCKETS + 1, dtype=torch.int32))
        self.register_buffer("prints", torch.zeros(size, dtype=torch.int32))
        self.register_buffer("counts", torch.zeros(size, 2, dtype=torch.int16))
        self.register_buffer("factors", torch.from_numpy(KEY_FACTORS), persistent=False)

    def fill(self, table: UsageTable) -> None:
        """Take over what is to be remembered."""
        for name in ("starts", "prints", "counts"):
            self.get_buffer(name).copy_(torch.from_numpy(getattr(table, name)))

    def keys(self, low: Tensor) -> Tensor:
        """The keys int64 [N] of statements, given as the lower halves of their words' hashes [N, L], 0 behind them.

        Summed in halves of 16 bits: ONNX Runtime sums whole numbers as doubles, which are exact below 2^53 only.
        """
        factors = self.factors[: low.shape[1]].to(torch.int64)
        rest = low % (1 << 16)
        upper = (low - rest) // (1 << 16)
        return (upper * factors).sum(dim=1) * (1 << 16) + (rest * factors).sum(dim=1)

    def forward(self, keys: Tensor) -> Tensor:
        """Keys int64 [N] to counts int64 [N, 2]: 0 and 0 for a statement that training did not list."""
        buckets = keys % KEY_BUCKETS
        prints = (keys - buckets) // KEY_BUCKETS % (1 << 31)
        places = self.starts[buckets].to(torch.int64)[:, None] + torch.arange(WAYS)
        inside = places < self.starts[buckets + 1].to(torch.int64)[:, None]
        places = places.clamp(max=len(self.prints) - 1)
        found = inside & (self.prints[places].to(torch.int64) == prints[:, None])
        return (self.counts[places].to(torch.int64) * found[:, :, None]).sum(dim=1)


def usage_features(counts: Tensor) -> Tensor:
    """Counts of useful and of useless listings [N, 2] to float32 [N, 3]: which way, how useful, how often seen."""
    useful, useless = counts.to(torch.float32).unbind(dim=1)
    return torch.stack(
        [((useful + 1) / (useless + 1)).log(), (1 + useful).log() / 2, (1 + useful + useless).log() / 2], dim=1
    )
