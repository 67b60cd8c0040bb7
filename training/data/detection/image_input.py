"""From the pixels of an image of any size to what a convolutional network reads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Of ImageNet in RGB, 0 to 255: torchvision's weights were trained with these. The authors' Caffe weights read BGR
# and are not divided by a standard deviation.
MEAN_COLOUR = (123.675, 116.28, 103.53)
COLOUR_STD = (58.395, 57.12, 57.375)


def resize_image(image: Tensor, shorter_side: int, longest_side: int) -> tuple[Tensor, Tensor]:
    """Resize so that the shorter side has a given length, unless the longer one would then be too long.

    Bilinear, without antialiasing, as the paper's code does it (``cv2.resize``).

    Args:
        image: uint8 or float [N, 3, H, W].
        shorter_side: in pixels, 600 in the paper.
        longest_side: in pixels, 1000 in the paper.

    Returns:
        float32 [N, 3, H', W'], and resized over original length along (height, width), float32 [2].
    """
    height, width = image.shape[-2:]
    # By whole numbers, so that a traced graph and Python agree on every size.
    shorter, longer = torch.sym_min(height, width), torch.sym_max(height, width)
    size = [
        torch.sym_max(1, torch.sym_min(side * shorter_side // shorter, side * longest_side // longer))
        for side in (height, width)
    ]
    resized = F.interpolate(image.float(), size=size, mode="bilinear", align_corners=False)
    lengths = [torch.scalar_tensor(side, dtype=torch.float32) for side in (*size, height, width)]
    return resized, torch.stack(lengths[:2]) / torch.stack(lengths[2:])


def normalise_colours(image: Tensor) -> Tensor:
    """Pixels [N, 3, H, W] from 0 to 255 to values of mean 0 and standard deviation 1 over ImageNet."""
    mean, std = image.new_tensor(MEAN_COLOUR), image.new_tensor(COLOUR_STD)
    return (image - mean[:, None, None]) / std[:, None, None]
