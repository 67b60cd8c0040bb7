"""Images as the exported generators give them: bytes, and how far a byte may be off."""

from __future__ import annotations

import torch
from torch import Tensor

from neurips16.export.spec import Tolerance

PIXELS = Tolerance(0.0, 1.0, "a pixel whose value lies half-way between two bytes may be rounded either way")


def to_bytes(images: Tensor, *, low: float = 0.0) -> Tensor:
    """Pixels float32 [N, C, H, W] in [``low``, 1] to bytes uint8 [N, H, W, C]; what lies outside is clipped."""
    scaled = (images - low) * (255 / (1.0 - low))
    return scaled.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)
