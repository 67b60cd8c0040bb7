"""Boxes as (x0, y0, x1, y1): the edges of a rectangle, in pixels, so that its width is x1 - x0.

The authors' code counts pixels instead, and writes "+1" wherever it needs a width; a box of theirs from pixel a to
pixel b is one of ours from edge a to edge b + 1, with the same widths, centres and overlaps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DELTA_STD = (0.1, 0.1, 0.2, 0.2)  # by which regression targets are divided, so that they are of order 1
MAX_LOG_SCALE = math.log(1000 / 16)  # a wild guess must not overflow


def encode(boxes: Tensor, references: Tensor) -> Tensor:
    """What turns references [..., 4] into boxes [..., 4]: shifts of the centre and log scales, over `DELTA_STD`."""
    size, reference_size = boxes[..., 2:] - boxes[..., :2], references[..., 2:] - references[..., :2]
    centre, reference_centre = boxes[..., :2] + 0.5 * size, references[..., :2] + 0.5 * reference_size
    deltas = torch.cat([(centre - reference_centre) / reference_size, (size / reference_size).log()], dim=-1)
    return deltas / deltas.new_tensor(DELTA_STD)


def decode(deltas: Tensor, references: Tensor) -> Tensor:
    """The inverse of `encode`: deltas [..., 4] and references [..., 4] to boxes [..., 4]."""
    deltas = deltas * deltas.new_tensor(DELTA_STD)
    reference_size = references[..., 2:] - references[..., :2]
    centre = references[..., :2] + 0.5 * reference_size + deltas[..., :2] * reference_size
    size = reference_size * deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp()
    return torch.cat([centre - 0.5 * size, centre + 0.5 * size], dim=-1)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes [N, R, 4] cut off at the edges of their images, whose (height, width) are ``sizes`` [N, 2]."""
    limits = sizes.flip(-1).repeat(1, 2)[:, None]  # [N, 1, 4] as width, height, width, height
    return torch.minimum(boxes.clamp(min=0), limits)
