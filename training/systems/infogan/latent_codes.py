"""InfoGAN's latent codes: how they are drawn, joined to one input, and how much of them a recogniser has read.

The order within the joined vector is: noise, each categorical code one-hot, uniform codes, Gaussian codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Codes(NamedTuple):
    """A batch of codes, with the noise that goes with them."""

    noise: Tensor  # float32 [N, Z], in (-1, 1)
    categories: Tensor  # int64 [N, K], one column for each categorical code
    continuous: Tensor  # float32 [N, M]: uniform in (-1, 1), then standard normal


class Information(NamedTuple):
    """The lower bounds of I(code; image) in nats, summed over the codes of a kind."""

    categorical: Tensor
    uniform: Tensor
    gaussian: Tensor


class LatentCodes(nn.Module):
    """Which codes there are (it has no weights).

    Args:
        categorical: the number of categories of each categorical code.
        uniform: how many codes are uniform in (-1, 1).
        gaussian: how many are standard normal.
        noise: incompressible noise, which no recogniser reads.
        fixed_deviation: the recogniser's normal distributions have standard deviation 1; else it says one itself.
    """

    def __init__(
        self, categorical: Sequence[int], uniform: int, gaussian: int, noise: int, *, fixed_deviation: bool = True
    ):
        super().__init__()
        if min([2, *categorical]) < 2 or min(uniform, gaussian, noise) < 0:
            raise ValueError(
                f"a categorical code has at least 2 categories and no number is negative; got {list(categorical)}, "
                f"{uniform} uniform, {gaussian} Gaussian, {noise} noise"
            )
        self.categorical = list(categorical)
        self.uniform, self.gaussian, self.noise = uniform, gaussian, noise
        self.fixed_deviation = fixed_deviation

    @property
    def continuous(self) -> int:
        """M, how many codes are continuous."""
        return self.uniform + self.gaussian

    @property
    def size(self) -> int:
        """Length of the joined vector."""
        return self.noise + sum(self.categorical) + self.continuous

    @property
    def read_size(self) -> int:
        """Numbers by which a recogniser describes the codes: logits, means, and log-variances where it says them."""
        return sum(self.categorical) + self.continuous * (1 if self.fixed_deviation else 2)

    def sample(self, count: int, generator: torch.Generator) -> Codes:
        """Codes from their priors."""
        device = generator.device
        noise = torch.rand(count, self.noise, generator=generator, device=device) * 2 - 1
        columns = [torch.randint(size, (count,), generator=generator, device=device) for size in self.categorical]
        uniform = torch.rand(count, self.uniform, generator=generator, device=device) * 2 - 1
        gaussian = torch.randn(count, self.gaussian, generator=generator, device=device)
        categories = torch.stack(columns, 1) if columns else noise.new_empty((count, 0), dtype=torch.int64)
        return Codes(noise, categories, torch.cat([uniform, gaussian], 1))

    def join(self, codes: Codes) -> Tensor:
        """The generator's input, float32 [N, size]."""
        one_hot = [
            (codes.categories[:, i : i + 1] == torch.arange(size, device=codes.categories.device)).to(torch.float32)
            for i, size in enumerate(self.categorical)
        ]
        return torch.cat([codes.noise, *one_hot, codes.continuous], 1)

    def split(self, read: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """What a recogniser says, [N, read_size], as logits of each categorical code, means and log-variances."""
        *logits, continuous = read.split([*self.categorical, read.shape[1] - sum(self.categorical)], dim=1)
        means = continuous[:, : self.continuous]
        log_variances = torch.zeros_like(means) if self.fixed_deviation else continuous[:, self.continuous :]
        return logits, means, log_variances

    def information(self, read: Tensor, codes: Codes) -> Information:
        """The variational lower bounds L_I = H(c) + E[log Q(c|x)] (section 5, equation 5).

        Args:
            read: float32 [N, read_size], of images that were generated from ``codes``.
            codes: see above.
        """
        logits, means, log_variances = self.split(read)
        categorical = read.new_zeros(())
        for i, size in enumerate(self.categorical):
            categorical = categorical + math.log(size) - F.cross_entropy(logits[i], codes.categories[:, i])
        surprise = 0.5 * (
            math.log(2 * math.pi) + log_variances + (codes.continuous - means) ** 2 * torch.exp(-log_variances)
        )
        per_code = surprise.mean(0)  # [M]
        uniform = self.uniform * math.log(2.0) - per_code[: self.uniform].sum()
        gaussian = self.gaussian * 0.5 * math.log(2 * math.pi * math.e) - per_code[self.uniform :].sum()
        return Information(categorical, uniform, gaussian)
