"""What is hashed of a screen: BASS features, or the code of an autoencoder that learns along."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, BINS = 52, 64
CELL, LEVELS = 20, 20  # BASS, on screens of 210 × 160


def bass(screens: np.ndarray, cell: int = CELL, levels: int = LEVELS) -> np.ndarray:
    """Screens uint8 [N, H, W, C] to features float32 [N, F]: ⌊B/(255 C²) · sum⌋ of each channel over each cell.

    What is left at the right and at the bottom, less than a cell, is not looked at.
    """
    count, height, width, channels = screens.shape
    rows, columns = height // cell, width // cell
    cells = screens[:, : rows * cell, : columns * cell].reshape(count, rows, cell, columns, cell, channels)
    sums = cells.sum((2, 4), dtype=np.int64)  # [N, rows, columns, C]
    return (levels * sums // (255 * cell**2)).reshape(count, -1).astype(np.float32)


class HashAutoencoder(nn.Module):
    """Grey screens of 52 × 52 to a code of numbers near 0 or 1, and back.

    Args:
        code: numbers in the code.
        channels: of the convolutions.
        noise: half the width of the uniform noise that is added to the code in training, which drives it to its ends.
        pressure: weight of the loss that does the same.
    """

    def __init__(self, code: int = 512, channels: int = 96, noise: float = 0.3, pressure: float = 10.0):
        super().__init__()
        self.noise, self.pressure = noise, pressure
        self.encoder = nn.Sequential(
            nn.Conv2d(1, channels, 6, 2), nn.ReLU(),  # 24
            nn.Conv2d(channels, channels, 6, 2), nn.ReLU(),  # 10
            nn.Conv2d(channels, channels, 6, 2, 2), nn.ReLU(),  # 5
            nn.Flatten(), nn.Linear(25 * channels, code), nn.Sigmoid(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(code, 1024), nn.ReLU(), nn.Linear(1024, 25 * channels), nn.ReLU(),
            nn.Unflatten(1, (channels, 5, 5)),
            nn.ConvTranspose2d(channels, channels, 5, 2, 1, 0), nn.ReLU(),  # 11
            nn.ConvTranspose2d(channels, channels, 4, 2, 0), nn.ReLU(),  # 24
            nn.ConvTranspose2d(channels, BINS, 6, 2, 0),  # 52
        )  # fmt: skip

    def encode(self, screens: Tensor) -> Tensor:
        """Screens float32 [N, 1, 52, 52] in [0, 1] to codes [N, K] in (0, 1)."""
        return self.encoder(screens)

    def loss(self, screens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """-log p of each screen's grey levels, of 64, plus λ/K Σ min((1-b)², b²); a mean over screens."""
        code = self.encode(screens)
        noisy = code + self.noise * (2 * torch.rand(code.shape, generator=generator) - 1)
        levels = (screens[:, 0] * BINS).long().clamp(max=BINS - 1)
        likelihood = F.cross_entropy(self.decoder(noisy), levels, reduction="none").sum((1, 2))
        ends = torch.minimum((1 - code) ** 2, code**2).mean(1)
        return (likelihood + self.pressure * ends).mean()
