"""What the exported generators share: noise from a seed, pixels, permitted ranges, and asking a model at any station.

Noise is made inside the graph from integers (`neurips16.training.noise`), so that a seed gives the same noise in every
runtime and on every server: the upper 24 bits of element i of the seed are the uniform number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from neurips16.clients import Client
from neurips16.export.errors import EvaluationError
from neurips16.export.publish import MODEL_FILE
from neurips16.export.registry import ExportedModel, Station
from neurips16.export.session import make_session
from neurips16.export.spec import TensorSpec, Tolerance, read_spec
from neurips16.training.noise import derive

LARGEST_SEED = 2**31 - 1
PIXELS = Tolerance(0.0, 1.0, "a pixel whose value lies half-way between two bytes may be rounded either way")
_ROWS_PER_RUN = 250
Ask = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def seed_input() -> TensorSpec:
    """The input that decides the noise of each row."""
    return TensorSpec(
        "seed",
        "INT64",
        ("N", 1),
        "decides the noise: the same seed gives the same image on any server",
        range=(0, LARGEST_SEED),
    )


def uniform(seed: Tensor, count: int) -> Tensor:
    """Seeds int64 [N, 1] to numbers float32 [N, count] in [0, 1), multiples of 2⁻²⁴."""
    return (derive(seed, torch.arange(count, device=seed.device)) >> 8).to(torch.float32) * 2.0**-24


def normal(seed: Tensor, count: int) -> Tensor:
    """Seeds int64 [N, 1] to standard normal numbers float32 [N, count], by Box and Muller's transform."""
    first, second = uniform(seed, 2 * count).chunk(2, dim=1)
    return torch.sqrt(-2.0 * torch.log(1.0 - first)) * torch.cos(2 * math.pi * second)


def to_bytes(images: Tensor, *, low: float = 0.0) -> Tensor:
    """Pixels float32 [N, C, H, W] in [``low``, 1] to bytes uint8 [N, H, W, C]; what lies outside is clipped."""
    scaled = (images - low) * (255 / (1.0 - low))
    return scaled.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def fold_normalisation(chain: nn.Sequential) -> None:
    """Fold each batch normalisation of a chain, in evaluation mode, into the layer with weights before it.

    The exporter would do so as well, but only after the weights have been rounded to FP16, which undoes the rounding.
    """
    for i, (layer, norm) in enumerate(pairwise(list(chain))):
        if not isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            continue
        if isinstance(layer, nn.Linear):
            chain[i] = fuse_linear_bn_eval(layer, norm)
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            chain[i] = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
        else:
            continue
        chain[i + 1] = nn.Identity()


@torch.no_grad()
def limit_rank(chain: nn.Sequential, inputs: Tensor, rank: int) -> None:
    """Replace a chain's largest fully connected layer by the product of two, the best one for some inputs.

    Least squares: the principal components of the layer's outputs are kept.

    Args:
        chain: in evaluation mode, its normalisation folded.
        inputs: of the chain, more than ``rank`` of them.
        rank: values between the two layers.

    Raises:
        ValueError: the layer has no such rank.
    """
    place = max(
        (i for i, layer in enumerate(chain) if isinstance(layer, nn.Linear)),
        key=lambda i: chain[i].get_parameter("weight").numel(),
    )
    layer = chain[place]
    assert isinstance(layer, nn.Linear)
    if not 0 < rank <= min(layer.in_features, layer.out_features, len(inputs) - 1):
        raise ValueError(
            f"a rank of {rank} is not possible for a layer from {layer.in_features} to {layer.out_features} values "
            f"and {len(inputs)} inputs: give a smaller one, or 0 to leave the layer as it is"
        )
    outputs = layer(nn.Sequential(*list(chain)[:place])(inputs))
    mean = outputs.mean(0)
    components = torch.linalg.svd(outputs - mean, full_matrices=False).Vh[:rank]  # [rank, out]
    reduce, expand = nn.Linear(layer.in_features, rank), nn.Linear(rank, layer.out_features)
    reduce.weight.copy_(components @ layer.weight)
    reduce.bias.copy_(components @ (layer.bias - mean))
    expand.weight.copy_(components.T)
    expand.bias.copy_(mean)
    chain[place] = nn.Sequential(reduce, expand)


def range_parameters(inputs: Sequence[TensorSpec]) -> dict[str, str]:
    """The permitted values of each input that has a range, for clients: ``seed_range`` is "0 2147483647"."""
    return {f"{t.name}_range": f"{t.range[0]:.10g} {t.range[1]:.10g}" for t in inputs if t.range is not None}


@dataclass(frozen=True)
class StationModel:
    """A model at a station: what it answers, and the facts that its specification states for clients."""

    ask: Ask  # a batch of any length
    parameters: Mapping[str, str]

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name."""
        return self.ask(inputs)

    def numbers(self, name: str) -> list[float]:
        """A parameter that is a list of numbers."""
        return [float(word) for word in self.parameters[name].split()]


def model_at(
    station: Station, name: str, models: Callable[[Path, Path | None], Sequence[ExportedModel]]
) -> StationModel:
    """The model ``name`` at a station.

    Args:
        station: a checkpoint, any file of REPOSITORY/MODEL/VERSION/model.onnx, or a server.
        name: of the model.
        models: the system's own, which makes its torch modules from a checkpoint.

    Raises:
        EvaluationError: the station is a baseline, or the model's file is not there.
    """
    if station.checkpoint is not None:
        exported = next(m for m in models(station.checkpoint, None) if m.spec.name == name)

        def trained(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            with torch.no_grad():
                answers = exported.module(**{key: torch.tensor(value) for key, value in rows.items()})
            return {key: value.numpy() for key, value in answers.items()}

        return StationModel(_in_parts(trained), exported.spec.parameters)
    if station.model is not None:
        path = station.model.absolute()
        file = path.parents[2] / name / path.parent.name / MODEL_FILE
        if not file.is_file():
            raise EvaluationError(f"{file} is not there: export the models of a system together")
        session = make_session(file, intra_op_threads=0)
        outputs = [output.name for output in session.get_outputs()]
        ask = _in_parts(lambda rows: dict(zip(outputs, session.run(None, dict(rows)), strict=True)))
        return StationModel(ask, read_spec(file).parameters)
    if station.url is not None:
        client = Client(station.url)
        config = client.model_config(name)
        ask = _in_parts(lambda rows: client.infer(name, rows), max(1, config.max_batch_size))
        return StationModel(ask, config.parameters)
    raise EvaluationError(f"{name} has no baseline {station.baseline!r}: measure a checkpoint, a model or a server")


def whole_number(options: Mapping[str, str], name: str, default: int) -> int:
    """An option that is a number over 0.

    Raises:
        EvaluationError: it is something else.
    """
    text = options.get(name, str(default)).strip()
    if not text.isdecimal() or int(text) < 1:
        raise EvaluationError(f"--{name}: expected a number over 0, got {text!r}")
    return int(text)


def _in_parts(ask: Ask, size: int = _ROWS_PER_RUN) -> Ask:
    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(rows.values())))
        parts = [ask({k: v[start : start + size] for k, v in rows.items()}) for start in range(0, count, size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run
