"""Disentangling as two ONNX models: ``disentangle`` swaps between two images, ``disentangle_decoder`` draws any parts.

The swap also returns the parts that it used, so it is the encoder too: put an image in both places. What an
interpolation needs besides is the decoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.graph.low_rank import fold_normalisation
from neurips16.export.graph.pixels import PIXELS, to_bytes
from neurips16.export.options import positive_integer, spread
from neurips16.export.registry import ExportedModel, SystemExport, Target
from neurips16.export.spec import MetricGate, ModelSpec, TensorSpec, Tolerance
from neurips16.export.station import open_station
from neurips16.training.data.mnist.reader import LabelledImages, read_mnist
from neurips16.training.metrics.judge import Judge, read_error
from neurips16.training.system import CHECKPOINT_KEY, load_module, read_checkpoint
from neurips16.training.systems.disentangle import Disentangle

PAPER = (
    "Disentangling factors of variation in deep representations using adversarial training (Mathieu et al., NIPS 2016)"
)
SWAP, DECODER = "disentangle", "disentangle_decoder"
DEVIATION = "unspecified_deviation"
MAX_BATCH_SIZE = 128
OPTIONS = {"sample": "training images that the readers of the parts learn from, evenly spaced (default 20000)"}
SWAP_ERROR = MetricGate(
    "swap_error", 0.01, "weights rounded to FP16 move pixels by a few levels of 255", lower_is_better=True
)
SUMS = Tolerance(1e-3, 1e-4, "FP32 sums of up to 2048 products in another order than torch's; values are of order 1")


class SwapModel(nn.Module):
    """Two images to the class of one in the style of the other."""

    def __init__(self, network: Disentangle):
        super().__init__()
        self.network = network

    def forward(self, style_image: Tensor, class_image: Tensor) -> dict[str, Tensor]:
        """Images uint8 [N, H, W, C] to ``image`` of the same shape, with the parts that it was drawn of."""
        _, unspecified, log_variance = self.network.encode(style_image.permute(0, 3, 1, 2))
        specified = self.network.encode(class_image.permute(0, 3, 1, 2)).specified
        made = self.network.decoder(specified, unspecified)
        return {
            "image": to_bytes(made, low=-1.0),
            "specified": specified,
            "unspecified": unspecified,
            DEVIATION: torch.exp(0.5 * log_variance),
        }


class DecoderModel(nn.Module):
    """The two parts to images."""

    def __init__(self, network: Disentangle):
        super().__init__()
        self.decoder = network.decoder

    def forward(self, specified: Tensor, unspecified: Tensor) -> dict[str, Tensor]:
        """``specified`` [N, S] and ``unspecified`` [N, Z] to ``image``."""
        return {"image": to_bytes(self.decoder(specified, unspecified), low=-1.0)}


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The two models of a checkpoint.

    Args:
        checkpoint: of `neurips16 train disentangle`.
        data: the data set, whose test images the parity check reads; None: made-up images.
    """
    network = load_module(checkpoint, "disentangle")
    assert isinstance(network, Disentangle)
    for chain in (network.encoder.body, network.decoder.body):
        fold_normalisation(chain)
    h = network.hparams
    channels, height, width = h.image_shape
    if data is None:
        images = np.random.default_rng(0).integers(0, 256, (8, height, width, channels), dtype=np.uint8)
    else:
        images = np.array(read_mnist(data, "test").images[:8])
    shared: dict[str, Any] = {"system": "disentangle", "paper": PAPER, "max_batch_size": MAX_BATCH_SIZE}
    shared |= {"metrics": (SWAP_ERROR,), "provenance": dict(read_checkpoint(checkpoint)[CHECKPOINT_KEY])}
    image = ("N", height, width, channels)
    parts = (
        TensorSpec("specified", "FP32", ("N", h.specified), "s: what says the class", tolerance=SUMS),
        TensorSpec("unspecified", "FP32", ("N", h.unspecified), "the mean of z: all else", tolerance=SUMS),
    )
    swap = ModelSpec(
        name=SWAP,
        summary="Draws the class of one image in the style of another.",
        inputs=(
            TensorSpec("style_image", "UINT8", image, "whose style is taken: its unspecified part", range=(0, 255)),
            TensorSpec("class_image", "UINT8", image, "whose class is taken: its specified part", range=(0, 255)),
        ),
        outputs=(
            TensorSpec("image", "UINT8", image, "pixels", tolerance=PIXELS),
            *parts,
            TensorSpec(DEVIATION, "FP32", ("N", h.unspecified), "the standard deviation of z", tolerance=SUMS),
        ),
        **shared,
    )
    decoder = ModelSpec(
        name=DECODER,
        summary="Draws the image of a specified and an unspecified part.",
        inputs=tuple(dataclasses.replace(part, tolerance=None) for part in parts),
        outputs=(TensorSpec("image", "UINT8", image, "pixels", tolerance=PIXELS),),
        **shared,
    )
    swap_module, decoder_module = SwapModel(network).eval(), DecoderModel(network).eval()
    swap_cases = [{"style_image": images[:n], "class_image": images[8 - n :]} for n in (1, 3, 8)]
    with torch.no_grad():
        found = swap_module(*(torch.from_numpy(images) for _ in range(2)))
    codes = {name: found[name].numpy() for name in ("specified", "unspecified")}
    decoder_cases = [{name: value[:n] for name, value in codes.items()} for n in (1, 3, 8)]
    return [
        ExportedModel(spec, module, {k: torch.from_numpy(v) for k, v in cases[1].items()}, cases, fp16_weights=True)
        for spec, module, cases in ((swap, swap_module, swap_cases), (decoder, decoder_module, decoder_cases))
    ]


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """Whether the specified part says the class, the unspecified part does not, and swapped images keep their class.

    Args:
        target: a checkpoint, an exported file of the repository, or a server.
        data: the data set's folder.
        split: "test", or "all" for test and training images together.
        options: see `OPTIONS`.

    Returns:
        ``specified_error`` and ``unspecified_error``: of a perceptron with 256 hidden units that learns to read the
        class from that part of training images; chance is 0.9 for ten classes. Of the unspecified part, which is a
        Gaussian, that is its mean; ``unspecified_sample_error`` is of one sample of it, as the decoder was trained on.
        ``swap_error``: the share of swapped images that an independent `Judge` does not name as the class that they
        were given; ``judge_error``: the judge's own, on real images.

    Raises:
        EvaluationError: the target is a baseline, or an option cannot be used.
    """
    train, asked = read_mnist(data, "train"), read_mnist(data, "test")
    if split == "all":
        asked = LabelledImages(
            np.concatenate([asked.images, train.images]), np.concatenate([asked.labels, train.labels])
        )
    chosen = spread(len(train), positive_integer(options, "sample", 20000))
    other = np.random.default_rng(0).permutation(len(asked))  # each image gives its style to one that is drawn
    with open_station(target, "disentangle", SWAP, models) as model:
        known = model.rows(style_image=train.images[chosen], class_image=train.images[chosen])
        swapped = model.rows(style_image=asked.images[other], class_image=asked.images)
    errors = {}
    sample = "unspecified_sample"
    for seed, found in enumerate((known, swapped)):
        noise = np.random.default_rng(seed).standard_normal(found[DEVIATION].shape)
        found[sample] = found["unspecified"] + noise * found[DEVIATION]
    for part, labels in (
        ("specified", asked.labels),
        ("unspecified", asked.labels[other]),
        (sample, asked.labels[other]),
    ):
        errors[f"{part}_error"] = read_error(known[part], train.labels[chosen], swapped[part], labels)
    judge = Judge.fit(train)
    return {
        "images": len(asked),
        **errors,
        "swap_error": float((judge.classes(swapped["image"]) != asked.labels).mean()),
        "judge_error": float((judge.classes(asked.images) != asked.labels).mean()),
    }


EXPORT = SystemExport("disentangle", evaluate, models, OPTIONS, quick_options={"sample": "5000"})
