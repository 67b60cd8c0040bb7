"""The networks of DGN-AM: a classifier, the generator that inverts its code, and a discriminator that knows the code.

None of them normalises batches, so the gradient of a unit is a chain of plain layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

GENERATOR_SLOPE = 0.3  # of the leaky ReLU, as in the published generator
DISCRIMINATOR_SLOPE = 0.2
OUTPUTS = {"linear": nn.Identity, "sigmoid": nn.Sigmoid}


class ImageClassifier(nn.Module):
    """A convolutional classifier, of which the *code* is the first fully connected layer behind its ReLU.

    Args:
        channels: of the images.
        side: height and width of the images.
        convolutions: [channels, kernel, stride, padding, pool] each; ``pool`` is the kernel of an overlapping
            max-pooling at stride 2 behind it, 0 for none.
        widths: of the fully connected layers but the last; the first is the code's.
        classes: of the output.
    """

    def __init__(
        self, channels: int, side: int, convolutions: Sequence[Sequence[int]], widths: Sequence[int], classes: int
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for out, kernel, stride, padding, pool in convolutions:
            layers += [nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU()]
            side = (side + 2 * padding - kernel) // stride + 1
            if pool:
                layers.append(nn.MaxPool2d(pool, 2))
                side = (side - pool) // 2 + 1
            channels = out
        self.features = nn.Sequential(*layers)
        self.code = nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, widths[0]), nn.ReLU())
        head: list[nn.Module] = []
        for before, after in pairwise(widths):
            head += [nn.Linear(before, after), nn.ReLU()]
        self.head = nn.Sequential(*head, nn.Linear(widths[-1], classes))

    def forward(self, images: Tensor) -> Tensor:
        """Images float32 [N, C, H, W] to logits [N, classes]."""
        return self.head(self.encode(images))

    def encode(self, images: Tensor) -> Tensor:
        """Images to their codes [N, D], which are not negative."""
        return self.code(self.features(images))


class CodeGenerator(nn.Sequential):
    """Codes [N, D] to images [N, C, side, side].

    Args:
        code: D.
        widths: of the fully connected layers.
        first: channels and side of the first map.
        stages: [up, keep] each: the channels that an up-convolution (4x4, twice the size) makes, and those of a 3x3
            convolution behind it, 0 for none. The last stage makes the image.
        output: "linear", as in the paper, or "sigmoid", which keeps pixels in [0, 1].
    """

    def __init__(
        self, code: int, widths: Sequence[int], first: Sequence[int], stages: Sequence[Sequence[int]], output: str
    ):
        channels, side = first
        layers: list[nn.Module] = []
        for before, after in zip([code, *widths], [*widths, channels * side * side], strict=True):
            layers += [nn.Linear(before, after), nn.LeakyReLU(GENERATOR_SLOPE)]
        layers.append(nn.Unflatten(1, (channels, side, side)))
        for up, keep in stages:
            layers += [nn.ConvTranspose2d(channels, up, 4, 2, 1), nn.LeakyReLU(GENERATOR_SLOPE)]
            channels = up
            if keep:
                layers += [nn.Conv2d(up, keep, 3, 1, 1), nn.LeakyReLU(GENERATOR_SLOPE)]
                channels = keep
        layers[-1] = OUTPUTS[output]()  # in place of the last ReLU
        super().__init__(*layers)


class CodeDiscriminator(nn.Module):
    """Images [N, C, H, W] with the codes [N, D] that they have, or were made of, to the logit of being real [N]."""

    def __init__(self, channels: int, side: int, code: int, widths: Sequence[int], hidden: int):
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(DISCRIMINATOR_SLOPE)]
            channels, side = width, side // 2
        self.images = nn.Sequential(*layers, nn.Flatten())
        self.codes = nn.Sequential(nn.Linear(code, hidden), nn.LeakyReLU(DISCRIMINATOR_SLOPE))
        self.joint = nn.Sequential(
            nn.Linear(channels * side * side + hidden, hidden),
            nn.LeakyReLU(DISCRIMINATOR_SLOPE),
            nn.Linear(hidden, 1),
        )

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """To float32 [N]."""
        return self.joint(torch.cat([self.images(images), self.codes(codes)], 1)).squeeze(1)


def centre(images: Tensor, side: int) -> Tensor:
    """The central ``side`` by ``side`` pixels of images [N, C, H, W]."""
    top, left = (images.shape[2] - side) // 2, (images.shape[3] - side) // 2
    return images[:, :, top : top + side, left : left + side]
