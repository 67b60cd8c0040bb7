"""InfoGAN as two ONNX models: ``infogan`` makes an image of codes, ``infogan_encoder`` reads an image's codes.

Which category means which label is left to chance by the training. Where the data are at hand at the export, the
categories of a model with one categorical code are put into the order of their labels (the best one-to-one assignment
on training images), so that category 3 is the threes; the weights are permuted, nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.graph.low_rank import fold_normalisation, limit_rank
from neurips16.export.graph.pixels import PIXELS, to_bytes
from neurips16.export.graph.seeded_noise import MAX_SEED, seed_input, uniform
from neurips16.export.options import positive_integer, spread
from neurips16.export.registry import ExportedModel, SystemExport, Target, range_parameters
from neurips16.export.spec import MetricGate, ModelSpec, TensorSpec, Tolerance
from neurips16.export.station import open_station
from neurips16.training.data.mnist.reader import LabelledImages, read_mnist
from neurips16.training.metrics.assignment import assignment_error, best_assignment
from neurips16.training.system import CHECKPOINT_KEY, load_module, read_checkpoint
from neurips16.training.systems.infogan.latent_codes import Codes
from neurips16.training.systems.infogan.network import InfoGAN

PAPER = (
    "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets "
    "(Chen et al., NIPS 2016), sections 5 and 7, appendix C"
)
GENERATOR, ENCODER = "infogan", "infogan_encoder"
MAX_BATCH_SIZE = 128
OPTIONS = {"assign": "find the assignment on so many training images, evenly spaced (default: all)"}
CATEGORICAL_ERROR = MetricGate(
    "categorical_error",
    0.003,
    "weights rounded to FP16 may move a few images across a border: three in a thousand at most",
    lower_is_better=True,
)
EXAMPLES = 2000  # images made to see which directions of a layer's output matter
SUMS = Tolerance(1e-3, 1e-4, "FP32 sums of up to 6272 products in another order than torch's; values are of order 1")


class GeneratorModel(nn.Module):
    """Codes and a seed to images."""

    def __init__(self, network: InfoGAN, reach: float):
        super().__init__()
        self.codes, self.generator = network.codes, network.generator
        self.black, self.reach = network.black, reach

    def forward(self, seed: Tensor, category: Tensor | None = None, continuous: Tensor | None = None) -> dict:
        """``category`` int64 [N, K], ``continuous`` float32 [N, M] and ``seed`` int64 [N, 1] to ``image``."""
        noise = uniform(seed, self.codes.noise) * 2 - 1
        nothing = noise[:, :0]
        if category is None:
            category = nothing.to(torch.int64)
        else:
            category = torch.minimum(category.clamp(min=0), torch.tensor(self.codes.categorical) - 1)
        continuous = nothing if continuous is None else continuous.clamp(-self.reach, self.reach)
        joined = self.codes.join(Codes(noise, category, continuous))
        return {"image": to_bytes(self.generator(joined), low=self.black)}


class EncoderModel(nn.Module):
    """Images to what the recogniser reads."""

    def __init__(self, network: InfoGAN):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``image`` uint8 [N, H, W, C] to ``category_probabilities`` [N, ΣS] and ``continuous`` [N, M]."""
        probabilities, means = self.network.read(image.permute(0, 3, 1, 2))
        read = {}
        if probabilities:
            read["category_probabilities"] = torch.cat(probabilities, 1)
        if means.shape[1]:
            read["continuous"] = means
        return read


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The two models of a checkpoint.

    Args:
        checkpoint: of `neurips16 train infogan`.
        data: the data set, whose images the parity check reads and whose labels put the categories into order; None:
            made-up images, and categories as they are.
    """
    network = load_module(checkpoint, "infogan")
    assert isinstance(network, InfoGAN)
    for chain in (network.generator, network.discriminator.trunk, network.discriminator.recogniser):
        fold_normalisation(chain)
    labels: tuple[str, ...] = ()
    if data is None:
        images = np.random.default_rng(0).integers(0, 256, (5, *_rows_first(network)), dtype=np.uint8)
    else:
        train = read_mnist(data, "train")
        images = train.images[:: len(train) // 5][:5]
        labels = order_categories(network, train)
    limit_ranks(network)
    about = read_checkpoint(checkpoint)[CHECKPOINT_KEY]
    shared: dict[str, Any] = {"system": "infogan", "paper": PAPER, "max_batch_size": MAX_BATCH_SIZE}
    shared |= {"metrics": (CATEGORICAL_ERROR,) if network.codes.categorical else (), "provenance": dict(about)}
    generator, encoder = _generator(network, labels, shared), _encoder(network, images, labels, shared)
    return [generator, encoder]


@torch.no_grad()
def limit_ranks(network: InfoGAN) -> None:
    """Bring the large layers to the ranks that the network's settings state, as images of its own codes need them."""
    generator_rank, recogniser_rank = network.hparams.exported_ranks
    codes = network.codes.join(network.codes.sample(EXAMPLES, torch.Generator().manual_seed(0)))
    images = network.generator(codes)
    if generator_rank:
        limit_rank(network.generator, codes, generator_rank)
    if recogniser_rank:
        limit_rank(network.discriminator.trunk, images, recogniser_rank)


@torch.no_grad()
def order_categories(network: InfoGAN, data: LabelledImages) -> tuple[str, ...]:
    """Permute a network's only categorical code so that each category stands at the place of its label.

    Returns:
        The labels; nothing, with the network as it was, where there are several codes, or more or fewer labels.
    """
    sizes = network.codes.categorical
    if len(sizes) != 1 or int(data.labels.max()) + 1 != sizes[0]:
        return ()
    parts = [
        network.read(torch.tensor(data.images[start : start + 500]).permute(0, 3, 1, 2))[0][0].argmax(1)
        for start in range(0, len(data), 500)
    ]
    order = torch.from_numpy(np.argsort(best_assignment(torch.cat(parts).numpy(), data.labels, sizes[0])))
    first, last = network.generator[0].get_parameter("weight"), network.discriminator.recogniser[-1]
    weight, bias = last.get_parameter("weight"), last.get_parameter("bias")
    place = network.codes.noise + torch.arange(sizes[0])
    first[:, place] = first[:, place[order]]
    weight[: sizes[0]] = weight[order]
    bias[: sizes[0]] = bias[order]
    return tuple(map(str, range(sizes[0])))


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """How well the categorical code reads the labels that the training never saw.

    The assignment of categories to labels is the best one-to-one on training images; it is applied to the split.

    Args:
        target: a checkpoint, an exported file of the repository, or a server.
        data: the data set's folder.
        split: "test", or "all" for test and training images together.
        options: see `OPTIONS`.

    Returns:
        ``images``, ``assigned_on``, ``categorical_error``: of the code that is best on the training images; without
        the last where there is no categorical code.

    Raises:
        EvaluationError: the target is a baseline, or an option cannot be used.
    """
    train, test = read_mnist(data, "train"), read_mnist(data, "test")
    chosen = spread(len(train), positive_integer(options, "assign", len(train)))
    if split == "all":
        test = LabelledImages(np.concatenate([test.images, train.images]), np.concatenate([test.labels, train.labels]))
    count = len(chosen)
    with open_station(target, "infogan", ENCODER, models) as encoder:
        ends = np.cumsum([int(size) for size in encoder.number_list("categories")])
        if not len(ends):
            return {"images": len(test), "assigned_on": count}
        known, asked = (encoder.rows(image=images) for images in (train.images[chosen], test.images))
    best: tuple[float, float] = (1.0, 1.0)
    for start, end in zip([0, *ends], ends, strict=False):
        found, read = (a["category_probabilities"][:, start:end].argmax(1) for a in (known, asked))
        assigned = best_assignment(found, train.labels[chosen], end - start)
        errors = (
            assignment_error(found, train.labels[chosen], assigned),
            assignment_error(read, test.labels, assigned),
        )
        best = min(best, errors)
    return {"images": len(test), "assigned_on": count, "categorical_error": best[1]}


def _rows_first(network: InfoGAN) -> tuple[int, int, int]:
    channels, height, width = network.hparams.image_shape
    return height, width, channels


def _generator(network: InfoGAN, labels: Sequence[str], shared: dict[str, Any]) -> ExportedModel:
    codes = network.codes
    reach = 4.0 if codes.gaussian else 2.0  # the paper's own traversals reach twice as far as the training
    inputs = [seed_input()]
    if codes.continuous:
        what = f"{codes.uniform} uniform codes, trained in -1 … 1, then {codes.gaussian} standard normal ones"
        inputs.insert(0, TensorSpec("continuous", "FP32", ("N", codes.continuous), what, range=(-reach, reach)))
    if codes.categorical:
        inputs.insert(
            0,
            TensorSpec(
                "category",
                "INT64",
                ("N", len(codes.categorical)),
                "the category of each categorical code",
                range=(0, max(codes.categorical) - 1),
            ),
        )
    spec = ModelSpec(
        name=GENERATOR,
        summary="Makes images of latent codes.",
        inputs=tuple(inputs),
        outputs=(TensorSpec("image", "UINT8", ("N", *_rows_first(network)), "pixels", tolerance=PIXELS),),
        parameters={
            **range_parameters(inputs),
            "categories": " ".join(map(str, codes.categorical)),
            "category_names": " ".join(labels),
        },
        **shared,
    )
    rng = np.random.default_rng(1)
    draw: dict[str, Callable[[int], np.ndarray]] = {
        "category": lambda n: rng.integers(0, codes.categorical, (n, len(codes.categorical))),
        "continuous": lambda n: rng.uniform(-reach, reach, (n, codes.continuous)).astype(np.float32),
        "seed": lambda n: rng.integers(0, MAX_SEED, (n, 1)),
    }
    cases = [{t.name: draw[t.name](n) for t in inputs} for n in (1, 12, 3)]
    example = {name: torch.from_numpy(value) for name, value in cases[2].items()}
    return ExportedModel(spec, GeneratorModel(network, reach).eval(), example, cases, fp16_weights=True)


def _encoder(network: InfoGAN, images: np.ndarray, labels: Sequence[str], shared: dict[str, Any]) -> ExportedModel:
    codes = network.codes
    outputs = []
    if codes.categorical:
        what = "of each categorical code's categories, one code after the other"
        dims = ("N", sum(codes.categorical))
        outputs.append(TensorSpec("category_probabilities", "FP32", dims, what, tolerance=SUMS))
    if codes.continuous:
        what = "the means of the continuous codes"
        outputs.append(TensorSpec("continuous", "FP32", ("N", codes.continuous), what, tolerance=SUMS))
    spec = ModelSpec(
        name=ENCODER,
        summary="Reads the latent codes of images.",
        inputs=(TensorSpec("image", "UINT8", ("N", *_rows_first(network)), "pixels", range=(0, 255)),),
        outputs=tuple(outputs),
        labels={"category_probabilities": tuple(labels)} if labels else {},
        parameters={"categories": " ".join(map(str, codes.categorical))},
        **shared,
    )
    cases = [{"image": np.array(images[:n])} for n in (1, 5)]
    example = {"image": torch.tensor(images[:3])}
    return ExportedModel(spec, EncoderModel(network).eval(), example, cases, fp16_weights=True)


EXPORT = SystemExport("infogan", evaluate, models, OPTIONS, quick_options={"assign": "10000"})
