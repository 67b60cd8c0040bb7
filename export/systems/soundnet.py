"""SoundNet as one ONNX model: a waveform of any length in, objects, scenes and named features out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.registry import ExportedModel, SystemExport, Target
from neurips16.export.spec import ModelSpec, TensorSpec, Tolerance
from neurips16.export.station import open_station
from neurips16.export.systems.sound_classifier.models import PAPER, parity_sounds
from neurips16.training.data.audio import read_waveform
from neurips16.training.data.sound_pairs.reader import read_pairs
from neurips16.training.layers.soundnet_layers import HEADS, SAMPLE_RATE_HZ, Block, repeated
from neurips16.training.system import CHECKPOINT_KEY, read_checkpoint
from neurips16.training.systems.soundnet.network import SHORTEST_S, SoundNet, load_soundnet

MAX_BATCH_SIZE = 8
FEATURES = {8: ("pool5", "conv6"), 5: ("pool3", "conv4")}  # those that the paper recommends, and their like
LIKELY = Tolerance(1e-3, 1e-6, "softmax of FP32 sums of up to 8,192 products in another order")
SUMS = Tolerance(1e-3, 1e-3, "FP32 sums over values of order 100 in another order than torch's")
PARITY_LENGTHS_S = (1.0, 10.4, 21.0)


class SoundNetModel(nn.Module):
    """Waveforms to distributions at each output step, and features."""

    def __init__(self, network: SoundNet):
        super().__init__()
        self.network = network

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """``waveform`` [N, T] to probabilities [N, S, classes], and features [N, steps, channels]."""
        found = self.network.features(repeated(waveform, SHORTEST_S * SAMPLE_RATE_HZ))
        return {
            "object_probabilities": found["objects"].transpose(1, 2).softmax(2),
            "scene_probabilities": found["scenes"].transpose(1, 2).softmax(2),
            **{name: found[name].transpose(1, 2) for name in FEATURES[self.network.hparams.depth]},
        }


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The model of a checkpoint.

    Args:
        checkpoint: of `neurips16 train soundnet`, or published weights (see `load_soundnet`).
        data: unused: the parity check hears tones and noises of ours.
    """
    network = load_soundnet(checkpoint)
    sounds = parity_sounds(None)
    cases = [
        {"waveform": np.stack([np.resize(sound, round(seconds * SAMPLE_RATE_HZ)) for sound in sounds[:count]])}
        for count, seconds in zip((1, 3, 2), PARITY_LENGTHS_S, strict=True)
    ]
    module = SoundNetModel(network).eval()
    example = {"waveform": torch.from_numpy(cases[1]["waveform"])}
    return [ExportedModel(_spec(network, _provenance(checkpoint)), module, example, cases)]


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """How far a model is from the teachers, on pairs as `training/data/sound_pairs/reader.py` reads them.

    Args:
        target: a checkpoint, published weights, an exported model, or a server.
        data: the pairs' folder.
        split: unused: a folder of pairs is one split.
        options: none.

    Returns:
        ``sounds``; for objects and scenes the mean divergence in nats (``object_kl``) and the share of output steps
        whose likeliest class is the teacher's (``object_agreement``).
    """
    pairs = read_pairs(data)
    totals: dict[str, list[float]] = {
        f"{kind}_{name}": [] for kind in ("object", "scene") for name in ("kl", "agreement")
    }
    with open_station(target, "soundnet", "soundnet", models) as model:
        for pair in pairs:
            found = model.ask({"waveform": read_waveform(pair.audio, SAMPLE_RATE_HZ)[None]})
            for kind, wanted in (("object", pair.objects), ("scene", pair.scenes)):
                got = found[f"{kind}_probabilities"][0][: len(wanted)]
                wanted = wanted[: len(got)]
                logs = np.log(np.maximum(wanted, 1e-30)) - np.log(np.maximum(got, 1e-30))
                totals[f"{kind}_kl"].append(float((wanted * logs).sum(1).mean()))
                totals[f"{kind}_agreement"].append(float((wanted.argmax(1) == got.argmax(1)).mean()))
    return {"sounds": len(pairs), **{name: float(np.mean(values)) for name, values in totals.items()}}


def _spec(network: SoundNet, about: dict[str, object]) -> ModelSpec:
    h = network.hparams
    step = HEADS[h.depth].stride * network.trunk.samples_per_step
    blocks = network.trunk.blocks
    features = tuple(
        TensorSpec(
            name,
            "FP32",
            ("N", f"S_{name}", cast(Block, blocks[int(name[-1]) - 1]).conv.out_channels),
            f"the trunk's {name}, time before channels",
            tolerance=SUMS,
        )
        for name in FEATURES[h.depth]
    )
    given = {"object_probabilities": h.object_labels, "scene_probabilities": h.scene_labels}
    return ModelSpec(
        name="soundnet",
        system="soundnet",
        summary="What image networks would see in a video, from its sound: objects, scenes and features.",
        inputs=(
            TensorSpec(
                "waveform",
                "FP32",
                ("N", "T"),
                f"one channel at {SAMPLE_RATE_HZ} Hz, in [-1, 1], 1 s or longer; below {SHORTEST_S} s it is repeated",
            ),
        ),
        outputs=(
            TensorSpec("object_probabilities", "FP32", ("N", "S", h.objects), "at each step", tolerance=LIKELY),
            TensorSpec("scene_probabilities", "FP32", ("N", "S", h.scenes), "at each step", tolerance=LIKELY),
            *features,
        ),
        max_batch_size=MAX_BATCH_SIZE,
        paper=PAPER,
        labels={name: tuple(labels) for name, labels in given.items() if labels is not None},
        parameters={"sample_rate_hz": str(SAMPLE_RATE_HZ), "step_samples": str(step)},
        provenance=about,
    )


def _provenance(checkpoint: Path) -> dict[str, object]:
    if checkpoint.suffix == ".ckpt":
        return dict(read_checkpoint(checkpoint)[CHECKPOINT_KEY])
    return {"published_weights_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}


EXPORT = SystemExport("soundnet", evaluate, models)
