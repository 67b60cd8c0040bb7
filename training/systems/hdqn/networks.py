"""The two levels over pixels: values of goals from a picture, values of actions from a picture and a goal's mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PixelValues(nn.Module):
    """A picture, and a mask where there is one, to the values of so many choices.

    A convolution that sees one cell at a time, and a hidden layer.

    Args:
        channels: 3 of a picture, 4 with a mask.
        choices: goals or actions.
        height: of the picture, a multiple of ``cell``.
        width: likewise.
        cell: pixels along a side of what the convolution sees.
        hidden: units of the last layer but one.
    """

    def __init__(self, channels: int, choices: int, height: int, width: int, cell: int = 4, hidden: int = 64):
        super().__init__()
        rows, columns = height // cell, width // cell
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, cell, cell), nn.ReLU(),
            nn.Flatten(), nn.Linear(16 * rows * columns, hidden), nn.ReLU(), nn.Linear(hidden, choices),
        )  # fmt: skip

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """``image`` uint8 [N, H, W, 3] and ``mask`` uint8 [N, H, W], of 0 and 255, to values float32 [N, choices]."""
        pixels = image.permute(0, 3, 1, 2)
        if mask is not None:
            pixels = torch.cat([pixels, mask[:, None]], 1)
        return self.layers(pixels.to(torch.float32) / 255)
