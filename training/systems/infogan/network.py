"""InfoGAN (Chen et al., NIPS 2016): a GAN whose codes can be read back from its images.

Beside noise the generator is given codes c; a recogniser Q(c|x), which shares all of the discriminator's layers but the
last, reads them back. Both players maximise the variational lower bound L_I of I(c; G(z, c)) (section 5): without any
labels, categories become kinds of image and continuous codes become directions in which images vary. Architectures are
those of the paper's appendix C; presets name them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.mnist.module import ImageBatch, MnistData
from neurips16.training.layers.adversarial import AdversarialModule, adam, as_pixels, initialise, statistics_kept
from neurips16.training.metrics.assignment import assignment_error, best_assignment
from neurips16.training.system import System
from neurips16.training.systems.infogan.latent_codes import Information, LatentCodes

OUTPUTS = {"sigmoid": (nn.Sigmoid, 0.0), "tanh": (nn.Tanh, -1.0)}  # name -> layer, value of a black pixel
RECOGNISER_HIDDEN = 128


class Generator(nn.Sequential):
    """Joined codes [N, S] to images [N, C, H, W].

    Args:
        size: S.
        image_shape: C, H and W; H and W are the product of the strides times a whole number.
        hidden: width of a fully connected layer before the first map; 0: there is none.
        channels: of the first map, and of each map that an up-convolution makes, except the last, the image.
        strides: of the up-convolutions; 2 doubles a map's size, 1 keeps it.
        output: "sigmoid" or "tanh".
    """

    def __init__(
        self,
        size: int,
        image_shape: Sequence[int],
        hidden: int,
        channels: Sequence[int],
        strides: Sequence[int],
        output: str,
    ):
        out_channels, height, width = image_shape
        scale = prod(strides)
        if len(channels) != len(strides) or height % scale or width % scale:
            raise ValueError(
                f"{len(channels)} channels with {len(strides)} strides cannot make images of {height} by {width}: "
                f"give as many strides, whose product ({scale}) divides both"
            )
        first = (channels[0], height // scale, width // scale)
        layers: list[nn.Module] = []
        if hidden:
            layers += [nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        layers += [nn.Linear(hidden or size, prod(first)), nn.BatchNorm1d(prod(first)), nn.ReLU()]
        layers += [nn.Unflatten(1, first)]
        for before, after, stride in zip(channels, channels[1:], strides, strict=False):
            layers += [_up(before, after, stride), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [_up(channels[-1], out_channels, strides[-1]), OUTPUTS[output][0]()]
        super().__init__(*layers)


class Discriminator(nn.Module):
    """Images [N, C, H, W] to the logit that they are real [N], and to the recogniser's description of their codes.

    Args:
        image_shape: C, H and W.
        hidden: width of the fully connected layer behind the convolutions; 0: there is none.
        channels: of the convolutions.
        strides: of the convolutions.
        slope: of the leaky ReLU.
        read_size: see `LatentCodes`.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        hidden: int,
        channels: Sequence[int],
        strides: Sequence[int],
        slope: float,
        read_size: int,
    ):
        super().__init__()
        in_channels, height, width = image_shape
        layers: list[nn.Module] = []
        for i, (before, after, stride) in enumerate(zip([in_channels, *channels], channels, strides, strict=False)):
            layers.append(_down(before, after, stride))
            layers += [nn.BatchNorm2d(after)] if i else []  # none on the image itself
            layers.append(nn.LeakyReLU(slope))
            height, width = -(-height // stride), -(-width // stride)
        size = channels[-1] * height * width
        layers.append(nn.Flatten())
        if hidden:
            layers += [nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(slope)]
        self.trunk = nn.Sequential(*layers)
        self.realness = nn.Linear(hidden or size, 1)
        self.recogniser = nn.Sequential(
            nn.Linear(hidden or size, RECOGNISER_HIDDEN),
            nn.BatchNorm1d(RECOGNISER_HIDDEN),
            nn.LeakyReLU(slope),
            nn.Linear(RECOGNISER_HIDDEN, read_size),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """To float32 [N] and [N, read_size]."""
        features = self.trunk(images)
        return self.realness(features).squeeze(1), self.recogniser(features)


class InfoGAN(AdversarialModule):
    """Both players with their losses.

    Args:
        image_shape: channels, height and width.
        categorical: categories of each categorical code.
        uniform: how many codes are uniform in (-1, 1).
        gaussian: how many are standard normal.
        noise: length of the incompressible noise.
        fixed_deviation: see `LatentCodes`.
        hidden: see `Generator` and `Discriminator`.
        generator_channels: the first map has 128 channels and the next 64, for MNIST.
        generator_strides: of the up-convolutions.
        discriminator_channels: of the convolutions.
        discriminator_strides: of the convolutions.
        output: "sigmoid", for pixels in [0, 1], or "tanh", for [-1, 1].
        slope: of the discriminator's leaky ReLU.
        categorical_weight: λ of the bound's categorical part.
        uniform_weight: λ of its uniform part.
        gaussian_weight: λ of its Gaussian part.
        agreement_weight: of the information that the recogniser's categories of a real image and of the same image
            slightly moved have about each other; not in the paper, 0 leaves it out. See `agreement`.
        generator_learning_rate: of Adam.
        discriminator_learning_rate: of Adam.
        exported_ranks: at the export, the largest layer of the generator and of the recogniser, which have nearly all
            weights, become products of two matrices of these ranks; 0: they stay as they are.
    """

    system = "infogan"

    def __init__(
        self,
        image_shape: Sequence[int],
        categorical: Sequence[int] = (10,),
        uniform: int = 2,
        gaussian: int = 0,
        noise: int = 62,
        fixed_deviation: bool = True,
        hidden: int = 1024,
        generator_channels: Sequence[int] = (128, 64),
        generator_strides: Sequence[int] = (2, 2),
        discriminator_channels: Sequence[int] = (64, 128),
        discriminator_strides: Sequence[int] = (2, 2),
        output: str = "sigmoid",
        slope: float = 0.1,
        categorical_weight: float = 1.0,
        uniform_weight: float = 1.0,
        gaussian_weight: float = 1.0,
        agreement_weight: float = 0.0,
        generator_learning_rate: float = 1e-3,
        discriminator_learning_rate: float = 2e-4,
        exported_ranks: Sequence[int] = (0, 0),
    ):
        super().__init__()
        if output not in OUTPUTS:
            raise ValueError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}")
        self.save_plain_hyperparameters()
        self.codes = LatentCodes(categorical, uniform, gaussian, noise, fixed_deviation=fixed_deviation)
        self.generator = Generator(self.codes.size, image_shape, hidden, generator_channels, generator_strides, output)
        self.discriminator = Discriminator(
            image_shape, hidden, discriminator_channels, discriminator_strides, slope, self.codes.read_size
        )
        self.black = OUTPUTS[output][1]
        initialise(self)
        self._validated: list[tuple[Tensor, Tensor]] = []

    def read(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the recogniser reads from images uint8 [N, C, H, W].

        Returns:
            The probabilities [N, size] of each categorical code, and the continuous codes' means [N, M].
        """
        logits, means, _ = self.codes.split(self.discriminator(as_pixels(images, low=self.black))[1])
        return [F.softmax(logit, 1) for logit in logits], means

    # -- training

    def train_batch(self, batch: ImageBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """One step of the discriminator with the recogniser, then one of the generator (equation 6)."""
        first, second = self.optimizers()
        real = as_pixels(batch.images, low=self.black)
        codes = self.codes.sample(len(real), generator)
        generated = self.generator(self.codes.join(codes))
        with self.manual_step(first) as losses:
            real_logits, real_read = self.discriminator(real)
            with statistics_kept(self.discriminator):
                logits, read = self.discriminator(generated.detach())
            discriminator_loss = _against(real_logits, real=True) + _against(logits, real=False)
            losses += [discriminator_loss, -self.weighted(self.codes.information(read, codes))]
            agreed: dict[str, Tensor] = {}
            if self.hparams.agreement_weight:
                with statistics_kept(self.discriminator):
                    _, changed_read = self.discriminator(random_affine(real, generator, black=self.black))
                agreed["agreement"] = self._agreement(real_read, changed_read)
                losses += [-self.hparams.agreement_weight * agreed["agreement"]]
        with self.manual_step(second) as losses:
            with statistics_kept(self.discriminator):
                logits, read = self.discriminator(generated)
            generator_loss = _against(logits, real=True)  # non-saturating
            information = self.codes.information(read, codes)
            losses += [generator_loss, -self.weighted(information)]
        return {
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            **{f"{kind}_information": value for kind, value in information._asdict().items()},
            **agreed,
        }

    def _agreement(self, read: Tensor, changed_read: Tensor) -> Tensor:
        pairs = zip(self.codes.split(read)[0], self.codes.split(changed_read)[0], strict=True)
        return torch.stack([agreement(F.softmax(a, 1), F.softmax(b, 1)) for a, b in pairs]).sum()

    def weighted(self, information: Information) -> Tensor:
        """λ L_I, with one λ for each kind of code."""
        h = self.hparams
        return (
            h.categorical_weight * information.categorical
            + h.uniform_weight * information.uniform
            + h.gaussian_weight * information.gaussian
        )

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        """Keep the categories that are read."""
        probabilities, _ = self.read(batch.images)
        if probabilities:
            self._validated.append((torch.stack(probabilities).argmax(2), batch.labels))

    def on_validation_epoch_end(self) -> None:
        """How far the best categorical code is from the labels, under the best one-to-one assignment."""
        if self._validated:
            categories = torch.cat([found for found, _ in self._validated], 1).cpu().numpy()  # [K, N]
            labels = torch.cat([labels for _, labels in self._validated]).cpu().numpy()
            errors = [
                assignment_error(row, labels, best_assignment(row, labels, size))
                for row, size in zip(categories, self.codes.categorical, strict=True)
            ]
            self.log("val_categorical_error", float(np.min(errors)), prog_bar=True)
        self._validated.clear()

    def configure_optimizers(self) -> list[Any]:
        """Adam for the discriminator with the recogniser, and for the generator."""
        h = self.hparams
        return [
            adam(self.discriminator.parameters(), h.discriminator_learning_rate),
            adam(self.generator.parameters(), h.generator_learning_rate),
        ]


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """The mutual information, in nats, of two readings of the same images, over a batch.

    It is largest, ln C, when both readings are sure and alike and all categories are as frequent: so borders between
    categories move to where there are no images. It is equation 3 of Ji, Henriques and Vedaldi, *Invariant Information
    Clustering*, ICCV 2019.

    Args:
        first: probabilities [N, C].
        second: as well, of the same images moved.
    """
    joint = first.T @ second / len(first)
    joint = ((joint + joint.T) / 2).clamp(min=1e-8)
    margin = joint.sum(0)
    return (joint * (joint.log() - margin.log()[:, None] - margin.log()[None, :])).sum()


def random_affine(images: Tensor, generator: torch.Generator, *, black: float) -> Tensor:
    """Images [N, C, H, W], each turned (up to 15°), scaled (up to a tenth), sheared and shifted (up to a twelfth)."""
    reach = torch.tensor([0.26, 0.1, 0.1, 0.15, 0.17, 0.17], device=images.device)
    steps = (torch.rand(len(images), 6, generator=generator, device=images.device) * 2 - 1) * reach
    angle, wide, high, shear, right, down = steps.unbind(1)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    rows = [(1 + wide) * cosine, shear - sine, right, sine, (1 + high) * cosine, down]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images - black, grid, align_corners=False) + black


def _up(before: int, after: int, stride: int) -> nn.Module:
    # At stride 1 a kernel of 4 cannot lie symmetrically: 3 stands for it.
    return nn.ConvTranspose2d(before, after, 4, 2, 1) if stride == 2 else nn.Conv2d(before, after, 3, 1, 1)


def _down(before: int, after: int, stride: int) -> nn.Module:
    return nn.Conv2d(before, after, 4, 2, 1) if stride == 2 else nn.Conv2d(before, after, 3, 1, 1)


def _against(logits: Tensor, *, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


SYSTEM = System(name="infogan", module=InfoGAN, data=MnistData, links=(("image_shape", "image_shape"),))
