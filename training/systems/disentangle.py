"""Disentangling factors of variation by adversarial training (Mathieu et al., NIPS 2016).

An encoder splits an image into a specified part s, which is to say the class and nothing else, and an unspecified part
z, a Gaussian, which is to say everything else. Labels are used only to know which two images are of a class: the
decoder must make the first of them from its own z and the s of the second. So that z holds no class, images of z and an
s of another class must seem to be of that class to a discriminator that is told the class (section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.mnist.module import ImageBatch
from neurips16.training.data.mnist.triples import TripleData
from neurips16.training.layers.adversarial import AdversarialModule, adam, as_pixels
from neurips16.training.system import System

HALVINGS = 3  # how often encoder and discriminator halve a map, and the decoder doubles it
REAL_TARGET = 0.95
CLASS_MAP_SIDE = 4
READER_STEPS = 5  # a batch: the reader is to know the encoder of now


class Parts(NamedTuple):
    """What an image is split into."""

    specified: Tensor  # s, float32 [N, S]
    mean: Tensor  # of z, float32 [N, Z]
    log_variance: Tensor  # of z, float32 [N, Z]


class Encoder(nn.Module):
    """Images [N, C, H, W] in [-1, 1] to their two parts.

    Args:
        image_shape: C, H and W; images are padded to multiples of 8.
        features: channels of the first of four scales; each scale has twice those of the one before.
        specified: S.
        unspecified: Z.
    """

    def __init__(self, image_shape: Sequence[int], features: int, specified: int, unspecified: int):
        super().__init__()
        channels, *sides = image_shape
        self.padding = _padding(sides)
        layers = [*_block(channels, features, 3), *_block(features, features, 3)]
        for scale in range(HALVINGS):
            width = features * 2**scale
            layers += [*_block(width, 2 * width, 2), *_block(2 * width, 2 * width, 3)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        size = _smallest_map(image_shape, features)
        self.specified = nn.Linear(size, specified)
        self.unspecified = nn.Linear(size, 2 * unspecified)

    def forward(self, images: Tensor) -> Parts:
        """See `Parts`."""
        features = self.body(F.pad(images, self.padding, value=-1.0))
        return Parts(self.specified(features), *self.unspecified(features).chunk(2, dim=1))


class Decoder(nn.Module):
    """The two parts [N, S] and [N, Z] to images [N, C, H, W] in [-1, 1]; the arguments are the encoder's."""

    def __init__(self, image_shape: Sequence[int], features: int, specified: int, unspecified: int):
        super().__init__()
        channels, *sides = image_shape
        self.padding = _padding(sides)
        size = _smallest_map(image_shape, features)
        self.specified = nn.Linear(specified, size)
        self.unspecified = nn.Linear(unspecified, size, bias=False)  # their sum has one bias
        width = features * 2**HALVINGS
        first = (width, (sides[0] + sum(self.padding[2:])) // 8, (sides[1] + sum(self.padding[:2])) // 8)
        layers: list[nn.Module] = [nn.Unflatten(1, first), nn.BatchNorm2d(width), nn.ReLU(), *_block(width, width, 3)]
        for scale in reversed(range(HALVINGS)):
            width = features * 2**scale
            layers += [nn.ConvTranspose2d(2 * width, width, 2, 2), nn.BatchNorm2d(width), nn.ReLU()]
            layers += _block(width, width, 3)
        self.body = nn.Sequential(*layers, nn.Conv2d(features, channels, 3, 1, 1), nn.Tanh())

    def forward(self, specified: Tensor, unspecified: Tensor) -> Tensor:
        """To float32 [N, C, H, W]."""
        images = self.body(self.specified(specified) + self.unspecified(unspecified))
        left, right, top, bottom = self.padding
        return images[:, :, top : images.shape[2] - bottom, left : images.shape[3] - right]


class Discriminator(nn.Module):
    """Images with the class that they are said to be of, to the logit that they are real images of that class [N].

    Each class has a map of its own at each of three scales, which is added before the normalisation.
    """

    def __init__(self, image_shape: Sequence[int], features: int, classes: int):
        super().__init__()
        channels, *sides = image_shape
        self.padding = _padding(sides)
        widths = [channels, *(features * 2**scale for scale in range(HALVINGS))]
        pairs = list(pairwise(widths))
        self.entries = nn.ModuleList(nn.Conv2d(before, after, 3, 1, 1) for before, after in pairs)
        self.halvings = nn.ModuleList(nn.Conv2d(after, after, 2, 2) for _, after in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _, after in pairs)
        self.class_maps = nn.ModuleList(nn.Embedding(classes, after * CLASS_MAP_SIDE**2) for _, after in pairs)
        for table in self.class_maps:
            nn.init.normal_(table.get_parameter("weight"), 0.0, 0.02)
        self.output = nn.Linear(_smallest_map(image_shape, features) // 2, 1)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """Images float32 [N, C, H, W] and their classes int64 [N] to float32 [N]."""
        maps = F.pad(images, self.padding, value=-1.0)
        for entry, halving, norm, table in zip(self.entries, self.halvings, self.norms, self.class_maps, strict=True):
            maps = halving(F.leaky_relu(entry(maps), 0.2))
            told = table(classes).reshape(len(classes), -1, CLASS_MAP_SIDE, CLASS_MAP_SIDE)
            maps = F.leaky_relu(norm(maps + F.interpolate(told, size=maps.shape[2:])), 0.2)
        return self.output(maps.flatten(1)).squeeze(1)


class Disentangle(AdversarialModule):
    """Encoder, decoder and discriminator with their losses.

    Args:
        image_shape: channels, height and width.
        classes: how many classes there are.
        features: see `Encoder`; 16 for all data sets of the paper but sprites.
        specified: length of the specified part; 16 for MNIST.
        unspecified: length of the unspecified part; 16 for MNIST.
        reconstruction_weight: of an image from its own parts.
        swap_weight: of an image from its own unspecified part and the specified part of another of its class.
        adversarial_weight: of being taken for a real image of the class.
        divergence_weight: of the Kullback-Leibler divergence of z from a standard normal; it is scaled by
            6 / (C·H·W), as the squared errors are means over pixels.
        reader_weight: of telling nothing to a reader, which learns to read the class from the mean of z; not in
            the paper, 0 leaves it out.
        learning_rate: of Adam, for encoder and decoder.
        discriminator_learning_rate: of Adam, for discriminator and reader.
    """

    system = "disentangle"

    def __init__(
        self,
        image_shape: Sequence[int],
        classes: int,
        features: int = 16,
        specified: int = 16,
        unspecified: int = 16,
        reconstruction_weight: float = 0.5,
        swap_weight: float = 1.0,
        adversarial_weight: float = 0.01,
        divergence_weight: float = 0.1,
        reader_weight: float = 0.0,
        learning_rate: float = 0.01,
        discriminator_learning_rate: float = 0.01,
    ):
        super().__init__()
        self.save_plain_hyperparameters()
        self.encoder = Encoder(image_shape, features, specified, unspecified)
        self.decoder = Decoder(image_shape, features, specified, unspecified)
        self.discriminator = Discriminator(image_shape, features, classes)
        if reader_weight:
            self.reader = nn.Sequential(  # normalised, so that it reads what is said quietly too
                nn.BatchNorm1d(unspecified, affine=False),
                nn.Linear(unspecified, 256),
                nn.ReLU(),
                nn.Linear(256, classes),
            )

    def encode(self, images: Tensor) -> Parts:
        """The parts of images uint8 [N, C, H, W]."""
        return self.encoder(as_pixels(images, low=-1.0))

    def train_batch(self, batch: ImageBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """One step of the discriminator, some of the reader, then one of encoder and decoder."""
        h = self.hparams
        first, second, *others = self.optimizers()
        images = as_pixels(batch.images, low=-1.0)
        one, two, three = (part.contiguous() for part in images.chunk(3))
        own, _, other = batch.labels.chunk(3)
        parts = self.encoder(images)
        noise = torch.randn(parts.mean.shape, generator=generator, device=generator.device)
        z = (parts.mean + torch.exp(0.5 * parts.log_variance) * noise).chunk(3)
        s = parts.specified.chunk(3)
        # The own parts of all three; the two of a class with each other's s; the two of different classes likewise.
        pairs = [*zip(s, z, strict=True), (s[1], z[0]), (s[0], z[1]), (s[2], z[0]), (s[0], z[2])]
        made = self.decoder(*(torch.cat(column) for column in zip(*pairs, strict=True))).split([len(one)] * len(pairs))
        exchanged, claimed = torch.cat(made[5:]), torch.cat([other, own])

        with self.manual_step(first) as losses:
            real = self.discriminator(torch.cat([three, one]), claimed)
            discriminator_loss = _against(real, REAL_TARGET) + _against(
                self.discriminator(exchanged.detach(), claimed), 0.0
            )
            losses.append(discriminator_loss)
        for third in others * READER_STEPS:
            with self.manual_step(third) as losses:
                reader_loss = F.cross_entropy(self.reader(parts.mean.detach()), batch.labels)
                losses.append(reader_loss)
        with self.manual_step(second) as losses:
            reconstruction = sum(F.mse_loss(a, b) for a, b in zip(made[:3], (one, two, three), strict=True))
            swap = F.mse_loss(made[3], one) + F.mse_loss(made[4], two)
            adversarial = _against(self.discriminator(exchanged, claimed), 1.0)
            divergence = 0.5 * (parts.mean**2 + parts.log_variance.exp() - parts.log_variance - 1).sum(1).mean()
            scale = 6.0 / images[0].numel()
            losses += [
                h.reconstruction_weight * reconstruction,
                h.swap_weight * swap,
                h.adversarial_weight * adversarial,
                h.divergence_weight * scale * divergence,
            ]
            if others:  # the reader should find each class as likely as any
                losses.append(-h.reader_weight * F.log_softmax(self.reader(parts.mean), dim=1).mean())
        return {
            "reconstruction": reconstruction,
            "swap": swap,
            "adversarial": adversarial,
            "divergence": divergence,
            "discriminator_loss": discriminator_loss,
            **({"reader_loss": reader_loss} if others else {}),
        }

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        """The squared error of an image from its own parts, with the mean of z."""
        images = as_pixels(batch.images, low=-1.0)
        parts = self.encoder(images)
        error = F.mse_loss(self.decoder(parts.specified, parts.mean), images)
        self.log("val_reconstruction", error, prog_bar=True, batch_size=len(images))

    def configure_optimizers(self) -> list[Any]:
        """Adam for the discriminator, for encoder and decoder, and for the reader if there is one."""
        h = self.hparams
        makers = [*self.encoder.parameters(), *self.decoder.parameters()]
        return [
            adam(self.discriminator.parameters(), h.discriminator_learning_rate),
            adam(makers, h.learning_rate),
            *([adam(self.reader.parameters(), h.discriminator_learning_rate)] if h.reader_weight else ()),
        ]


def _block(before: int, after: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps a map's size (kernel 3) or halves it (kernel 2), normalised, with ReLU."""
    stride, padding = (1, 1) if kernel == 3 else (2, 0)
    return [nn.Conv2d(before, after, kernel, stride, padding), nn.BatchNorm2d(after), nn.ReLU()]


def _padding(sides: Sequence[int]) -> list[int]:
    """Left, right, top, bottom: what makes both sides multiples of 8."""
    height, width = (-side % 2**HALVINGS for side in sides)
    return [width // 2, width - width // 2, height // 2, height - height // 2]


def _smallest_map(image_shape: Sequence[int], features: int) -> int:
    """The number of values of the encoder's last map."""
    _, height, width = image_shape
    scale = 2**HALVINGS
    return features * scale * -(-height // scale) * -(-width // scale)


def _against(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


SYSTEM = System(
    name="disentangle",
    module=Disentangle,
    data=TripleData,
    links=(("image_shape", "image_shape"), ("classes", "classes")),
)
