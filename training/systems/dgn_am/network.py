"""DGN-AM (Nguyen et al., NIPS 2016): the input that a unit prefers, by ascent in the code space of a generator.

A classifier is trained first and then fixed. A generator learns to invert its code (the first fully connected layer,
fc6 in AlexNet) with the three losses of Dosovitskiy and Brox: squared error of the image, squared error of the
classifier's features, and a discriminator. The generator is then a prior of natural images: `ascend` climbs a unit's
activation in code space, within the range that real images' codes have (section 2 and the published code).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from neurips16.training.data.mnist.module import VALIDATION_BATCH, ImageBatch, MnistData
from neurips16.training.data.mnist.reader import LabelledImages
from neurips16.training.layers.adversarial import AdversarialModule, adam, as_pixels
from neurips16.training.system import System
from neurips16.training.systems.dgn_am.image_classifier import (
    OUTPUTS,
    CodeDiscriminator,
    CodeGenerator,
    ImageClassifier,
    centre,
)

CODE_STDS = 3.0  # a code is clipped to [0, mean + so many standard deviations], unit by unit
MIN_GRADIENT = 1e-20  # below this a gradient's mean is taken for zero, and the code stays


class Ascent(NamedTuple):
    """Where an ascent has led."""

    images: Tensor  # float32 [N, C, H, W]
    activations: Tensor  # float32 [N, steps + 1]: before the first step, then after each
    codes: Tensor  # float32 [N, steps + 1, D], likewise


class DGNAM(AdversarialModule):
    """Classifier, generator and discriminator with their losses.

    Args:
        image_shape: channels, height and width of the data; the two last are equal.
        classes: of the classifier.
        convolutions: see `ImageClassifier`; the paper's encoder is AlexNet (preset ``alexnet``).
        widths: of the classifier's fully connected layers; the first is the code.
        encoder_side: the classifier reads so many central pixels, 227 of 256 in the paper; 0 reads all.
        generator_widths: see `CodeGenerator`, as the next three.
        generator_first: channels and side of the first map.
        generator_stages: what follows it; the generator's image is cut to that of the data.
        output: "linear" or "sigmoid".
        discriminator_channels: of its convolutions.
        discriminator_hidden: width of its fully connected layers.
        classifier_batches: so many batches train the classifier, all later ones the generator.
        classifier_learning_rate: of Adam.
        image_weight: of half the squared error of the pixels, summed over an image.
        feature_weight: of half the squared error of the classifier's last map, summed over an image.
        adversarial_weight: of being taken for a real image by the discriminator.
        learning_rate: of Adam, for generator and discriminator.
        least_loss_ratio: the discriminator rests while its loss is less than this share of the generator's own.
        decay: the code is multiplied by this after each step of an ascent, which is an L2 penalty.
        step_size: the length of an ascent's first step where none is asked for; the last is next to zero.
    """

    system = "dgn_am"
    code_limit: Tensor  # [D]
    real_activation: Tensor  # [classes]
    real_deviation: Tensor  # [classes]

    def __init__(
        self,
        image_shape: Sequence[int],
        classes: int,
        convolutions: Sequence[Sequence[int]] = ((32, 5, 2, 2, 0), (64, 5, 2, 2, 0)),
        widths: Sequence[int] = (128,),
        encoder_side: int = 0,
        generator_widths: Sequence[int] = (256,),
        generator_first: Sequence[int] = (128, 4),
        generator_stages: Sequence[Sequence[int]] = ((64, 64), (32, 32), (1, 0)),
        output: str = "sigmoid",
        discriminator_channels: Sequence[int] = (32, 64),
        discriminator_hidden: int = 128,
        classifier_batches: int = 2000,
        classifier_learning_rate: float = 1e-3,
        image_weight: float = 0.2,
        feature_weight: float = 0.01,
        adversarial_weight: float = 1.0,
        learning_rate: float = 2e-4,
        least_loss_ratio: float = 0.1,
        decay: float = 0.99,
        step_size: float = 0.5,
    ):
        super().__init__()
        if output not in OUTPUTS:
            raise ValueError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}")
        self.save_plain_hyperparameters()
        channels, side, _ = image_shape
        self.classifier = ImageClassifier(channels, encoder_side or side, convolutions, widths, classes)
        self.generator = CodeGenerator(widths[0], generator_widths, generator_first, generator_stages, output)
        self.discriminator = CodeDiscriminator(channels, side, widths[0], discriminator_channels, discriminator_hidden)
        # Of the training images, once the classifier is trained.
        self.register_buffer("code_limit", torch.zeros(widths[0]))
        self.register_buffer("real_activation", torch.zeros(classes))  # of a class's unit, over images of the class
        self.register_buffer("real_deviation", torch.zeros(classes))

    def encoder_crop(self, images: Tensor) -> Tensor:
        """What the classifier sees of images, float32 [N, C, E, E]."""
        return centre(images, self.hparams.encoder_side or self.hparams.image_shape[1])

    def generate(self, codes: Tensor) -> Tensor:
        """Codes [N, D] to images float32 [N, C, H, W], of the size of the data."""
        return centre(self.generator(codes), self.hparams.image_shape[1])

    def activation(self, codes: Tensor, units: Tensor) -> Tensor:
        """The activations [N] of the units int64 [N] for the images of codes [N, D]: logits, not probabilities."""
        return self.classifier(self.encoder_crop(self.generate(codes))).gather(1, units[:, None]).squeeze(1)

    def ascend(self, start: Tensor, units: Tensor, *, steps: int, step_size: float | None = None) -> Ascent:
        """Climb each unit's activation from a code, with the published code's step.

        Step i of n moves the code by a_i · g / mean|g|, a_i falling linearly from ``step_size`` to zero; then the code
        is clipped to the range of real images and decays.

        Args:
            start: codes [N, D].
            units: int64 [N].
            steps: n.
            step_size: a_0; None takes the setting.
        """
        first = self.hparams.step_size if step_size is None else step_size
        codes, trace, path = start, [], [start]
        for i in range(steps):
            codes = codes.detach().requires_grad_()
            with torch.enable_grad():
                activations = self.activation(codes, units)
                (gradient,) = torch.autograd.grad(activations.sum(), codes)
            trace.append(activations.detach())
            codes = self.step(codes.detach(), gradient, torch.full_like(trace[-1], first * (1 - i / steps)))
            path.append(codes)
        with torch.no_grad():
            trace.append(self.activation(codes, units))
            return Ascent(self.generate(codes), torch.stack(trace, 1), torch.stack(path, 1))

    def step(self, codes: Tensor, gradient: Tensor, step_size: Tensor) -> Tensor:
        """One step of length ``step_size`` [N] along a gradient [N, D], clipped and decayed."""
        scale = gradient.abs().mean(1, keepdim=True)
        direction = torch.where(scale > MIN_GRADIENT, gradient / scale.clamp(min=MIN_GRADIENT), 0.0)
        stepped = codes + step_size[:, None] * direction
        return torch.minimum(stepped.clamp(min=0.0), self.code_limit) * self.hparams.decay

    # -- training

    def train_batch(self, batch: ImageBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """A step of the classifier; once it is trained, one of the discriminator and one of the generator."""
        if self.batches_done < self.hparams.classifier_batches:
            return self._teach(batch)
        if self.batches_done == self.hparams.classifier_batches:
            self.measure(self.trainer.datamodule.training_set)
        return self._invert(batch)

    def _teach(self, batch: ImageBatch) -> dict[str, Tensor]:
        with self.manual_step(self.optimizers()[0]) as losses:
            loss = F.cross_entropy(self.classifier(self.encoder_crop(as_pixels(batch.images))), batch.labels)
            losses.append(loss)
        return {"classifier_loss": loss}

    def _invert(self, batch: ImageBatch) -> dict[str, Tensor]:
        _, second, third = self.optimizers()
        h = self.hparams
        real = as_pixels(batch.images)
        with torch.no_grad():
            features = self.classifier.features(self.encoder_crop(real))
            codes = self.classifier.code(features)
        made = self.generate(codes)

        self.toggle_optimizer(third)
        adversarial_loss = _against(self.discriminator(made, codes), real=True)
        image_loss = 0.5 * F.mse_loss(made, real, reduction="sum") / len(real)
        made_features = self.classifier.features(self.encoder_crop(made))
        feature_loss = 0.5 * F.mse_loss(made_features, features, reduction="sum") / len(real)
        third.zero_grad()
        self.manual_backward(
            h.image_weight * image_loss + h.feature_weight * feature_loss + h.adversarial_weight * adversarial_loss
        )
        third.step()
        self.untoggle_optimizer(third)

        self.toggle_optimizer(second)
        discriminator_loss = _against(self.discriminator(real, codes), real=True) + _against(
            self.discriminator(made.detach(), codes), real=False
        )
        if discriminator_loss >= h.least_loss_ratio * adversarial_loss.detach():
            second.zero_grad()
            self.manual_backward(discriminator_loss)
            second.step()
        self.untoggle_optimizer(second)
        return {
            "image_loss": image_loss,
            "feature_loss": feature_loss,
            "adversarial_loss": adversarial_loss,
            "discriminator_loss": discriminator_loss,
        }

    @torch.no_grad()
    def measure(self, data: LabelledImages) -> None:
        """Set the codes' range, and the activations of real images, from the training images."""
        codes = []
        for start in range(0, len(data), VALIDATION_BATCH):
            images = torch.tensor(data.images[start : start + VALIDATION_BATCH], device=self.device)
            codes.append(self.classifier.encode(self.encoder_crop(as_pixels(images.permute(0, 3, 1, 2)))))
        every = torch.cat(codes)
        labels = torch.tensor(data.labels, device=self.device)
        own = self.classifier.head(every).gather(1, labels[:, None]).squeeze(1)
        self.code_limit.copy_(every.mean(0) + CODE_STDS * every.std(0))
        for unit in range(len(self.real_activation)):
            of_class = own[labels == unit]
            self.real_activation[unit], self.real_deviation[unit] = of_class.mean(), of_class.std()

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        """The classifier's error, and the squared error of images that were made from their codes."""
        real = as_pixels(batch.images)
        codes = self.classifier.encode(self.encoder_crop(real))
        wrong = (self.classifier.head(codes).argmax(1) != batch.labels).float().mean()
        error = F.mse_loss(self.generate(codes), real)
        self.log_dict({"val_classifier_error": wrong, "val_image_error": error}, prog_bar=True, batch_size=len(real))

    def configure_optimizers(self) -> list[Any]:
        """Adam for the classifier, the discriminator and the generator."""
        h = self.hparams
        return [
            adam(self.classifier.parameters(), h.classifier_learning_rate, beta1=0.9),
            adam(self.discriminator.parameters(), h.learning_rate, beta1=0.9),
            adam(self.generator.parameters(), h.learning_rate, beta1=0.9),
        ]


def _against(logits: Tensor, *, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


SYSTEM = System(
    name="dgn_am",
    module=DGNAM,
    data=MnistData,
    links=(("image_shape", "image_shape"), ("classes", "classes")),
)
