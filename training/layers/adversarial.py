"""What systems with two players have in common: manual optimisation that can be resumed, and what both players keep."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from neurips16.training.data.mnist.module import ImageBatch
from neurips16.training.system import SystemModule


class AdversarialModule(SystemModule, ABC):
    """A module that steps its optimisers itself and counts its batches.

    The count is in the checkpoint: a resumed run goes on with the next batch, and draws the noise that an undisturbed
    one would have drawn. `train_batch` does the work of one batch.
    """

    batches_done: Tensor  # int64 []

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.register_buffer("batches_done", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def train_batch(self, batch: ImageBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """One step of each player; the losses to log.

        Args:
            batch: of the data module.
            generator: on this module's device, seeded by the number of the batch.
        """

    def training_step(self, batch: ImageBatch, batch_index: int) -> None:
        """See `train_batch`."""
        generator = torch.Generator(self.device).manual_seed(int(self.batches_done))
        losses = self.train_batch(batch, generator)
        self.batches_done += 1
        self.log_dict({f"train_{name}": value.detach() for name, value in losses.items()}, prog_bar=True)

    @contextlib.contextmanager
    def manual_step(self, optimizer: LightningOptimizer) -> Iterator[list[Tensor]]:
        """One optimiser's turn: whatever losses are put into the list are summed and descended at the end."""
        self.toggle_optimizer(optimizer)
        losses: list[Tensor] = []
        yield losses
        optimizer.zero_grad()
        self.manual_backward(torch.stack(losses).sum())
        optimizer.step()
        self.untoggle_optimizer(optimizer)


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let batch normalisation use the statistics of the batch without remembering them.

    Real and generated images go through a discriminator as batches of their own. Only the real ones' statistics are
    remembered, since a recogniser is asked about real images when it is served.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def initialise(network: nn.Module) -> None:
    """Weights ~ N(0, 0.02²), biases 0, the scales of batch normalisation ~ N(1, 0.02²): as DCGAN and InfoGAN do."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def as_pixels(images: Tensor, *, low: float = 0.0) -> Tensor:
    """Bytes uint8 [N, C, H, W] to float32 in [``low``, 1]; ``low`` is 0 or -1."""
    return images.to(torch.float32) * ((1.0 - low) / 255) + low


def adam(parameters: Any, learning_rate: float, beta1: float = 0.5) -> torch.optim.Adam:
    """Adam as the adversarial papers use it: β1 = 0.5."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=(beta1, 0.999))
