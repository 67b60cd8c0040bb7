"""What is exported: one model, what it takes and gives, and how good it has to be."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from neurips16.export.registry import ExportedModel, SystemExport, Target
from neurips16.export.spec import MetricGate, ModelSpec, TensorSpec, Tolerance
from neurips16.export.station import open_station
from neurips16.training.system import load_module
from stripes.system import StripesData

PROBABILITIES = Tolerance(1e-4, 1e-5, "FP32 sums in another order than torch's; values are at most 1")


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The classifier of a checkpoint; ``data`` is read for the inputs of the parity check."""
    network = load_module(checkpoint, "stripes")
    classes = tuple(network.hparams.classes)
    spec = ModelSpec(
        name="stripes",
        system="stripes",
        summary="Says which way the stripes of an image run.",
        inputs=(TensorSpec("image", "UINT8", ("N", "H", "W", 3), "RGB pixels, at least 16 by 16"),),
        outputs=(
            TensorSpec("class_probabilities", "FP32", ("N", len(classes)), "of each class", tolerance=PROBABILITIES),
        ),
        max_batch_size=32,
        labels={"class_probabilities": classes},
        metrics=(MetricGate("accuracy", 0.0, "the same pictures get the same names"),),
        paper="none: an example",
    )
    images = StripesData(str(data)).images.numpy() if data else np.zeros((3, 32, 32, 3), np.uint8)
    cases = [{"image": images[:3]}, {"image": np.ascontiguousarray(images[:1, :20, :24])}]  # every free axis, twice
    return [ExportedModel(spec, network, {"image": torch.from_numpy(cases[0]["image"])}, cases)]


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """The share of a folder's pictures that are named rightly, wherever the model runs."""
    pictures = StripesData(str(data))
    with open_station(target, "stripes", "stripes", models) as model:
        found = model.rows(image=pictures.images.numpy())["class_probabilities"].argmax(1)
    return {"accuracy": float(np.mean(found == pictures.labels.numpy()))}


EXPORT = SystemExport(name="stripes", models=models, evaluate=evaluate)
