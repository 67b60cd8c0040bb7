"""The sound classifier as one ONNX model: a waveform of any length in, probabilities of the clip and of each step out.

The graph repeats short sounds, scales the waveform, and takes the weighted mean over the steps itself, so a client in
any language needs nothing of ours. Ours sends windows of one length, and takes the same mean over their steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.registry import ExportedModel
from neurips16.export.spec import MetricGate, ModelSpec, TensorSpec, Tolerance
from neurips16.training.data.esc50.reader import read_clips, read_sound_set
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ, repeated
from neurips16.training.system import CHECKPOINT_KEY, load_module, read_checkpoint
from neurips16.training.systems.sound_classifier.network import SHORTEST_S, SoundClassifier

PAPER = "SoundNet: Learning Sound Representations from Unlabeled Video (Aytar et al., NIPS 2016), sections 3 and 4"
MODEL = "sound_classifier"
MAX_BATCH_SIZE = 32
INSTANCES = 2  # ONNX Runtime hardly shares a convolution over one axis among threads
ACCURACY = MetricGate("accuracy", 0.005, "FP32 sums in another order may turn a tie: one clip in two hundred at most")
LIKELY = Tolerance(1e-3, 1e-5, "softmax of FP32 sums of some 2,000 products over values up to 256, in another order")
SHARE = Tolerance(1e-3, 1e-6, "a ratio of FP32 averages, in another order than torch's")
PARITY_LENGTHS_S = (1.0, 3.7, 5.0, 12.3)


class SoundClassifierModel(nn.Module):
    """Waveforms to probabilities."""

    def __init__(self, network: SoundClassifier):
        super().__init__()
        self.network = network

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """``waveform`` [N, T] to ``class_probabilities`` [N, C], ``step_probabilities`` [N, S, C], ``step_weights``."""
        steps = self.network(repeated(waveform, SHORTEST_S * SAMPLE_RATE_HZ))
        return {
            "class_probabilities": steps.clip_logits.softmax(1),
            "step_probabilities": steps.scores.transpose(1, 2).softmax(2),
            "step_weights": steps.weights,
        }


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The model of a checkpoint.

    Args:
        checkpoint: of `neurips16 train sound_classifier`.
        data: a set in ESC-50's layout, whose sounds the parity check hears; None: tones and noises of ours.
    """
    network = load_module(checkpoint, "sound_classifier")
    assert isinstance(network, SoundClassifier)
    module = SoundClassifierModel(network).eval()
    sounds = parity_sounds(data)
    cases = [
        {"waveform": np.stack([np.resize(sound, round(seconds * SAMPLE_RATE_HZ)) for sound in sounds[:count]])}
        for count, seconds in zip((1, 3, len(sounds), 2), PARITY_LENGTHS_S, strict=True)
    ]
    example = {"waveform": torch.from_numpy(cases[1]["waveform"])}
    about = dict(read_checkpoint(checkpoint)[CHECKPOINT_KEY])
    return [ExportedModel(_spec(network, about), module, example, cases)]


def parity_sounds(data: Path | None) -> list[np.ndarray]:
    """Five sounds of 5 s, of different classes where the data set is given."""
    if data is not None:
        clips = read_sound_set(data).clips
        spread = np.linspace(0, len(clips) - 1, 5).round().astype(int)
        return read_clips([clips[i] for i in spread], SAMPLE_RATE_HZ)
    rng = np.random.default_rng(0)
    time = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tones = [0.3 * np.sin(2 * np.pi * f * time) for f in (110.0, 1760.0)]
    clicks = np.where(np.arange(len(time)) % 11_025 < 40, 0.8, 0.0)
    noises = [rng.normal(0, level, len(time)) for level in (0.01, 0.2)]
    return [sound.astype(np.float32) for sound in (*tones, clicks, *noises)]


def _spec(network: SoundClassifier, about: dict[str, object]) -> ModelSpec:
    labels = tuple(network.hparams.labels)
    classes = len(labels)
    return ModelSpec(
        name=MODEL,
        system="sound_classifier",
        summary="Names what can be heard, in the whole of a sound and at each time step.",
        inputs=(
            TensorSpec(
                "waveform",
                "FP32",
                ("N", "T"),
                f"one channel at {SAMPLE_RATE_HZ} Hz, in [-1, 1], 1 s or longer; below {SHORTEST_S} s it is repeated",
            ),
        ),
        outputs=(
            TensorSpec("class_probabilities", "FP32", ("N", classes), "of the whole sound", tolerance=LIKELY),
            TensorSpec("step_probabilities", "FP32", ("N", "S", classes), "of each time step", tolerance=LIKELY),
            TensorSpec(
                "step_weights", "FP32", ("N", "S"), "what each step has to say, near 0 in silence", tolerance=SHARE
            ),
        ),
        max_batch_size=MAX_BATCH_SIZE,
        instances=INSTANCES,
        paper=PAPER,
        labels={"class_probabilities": labels},
        parameters={
            "sample_rate_hz": str(SAMPLE_RATE_HZ),
            "window_samples": str(SHORTEST_S * SAMPLE_RATE_HZ),
            "step_samples": str(network.trunk.samples_per_step),
            "held_out_fold": str(network.hparams.held_out_fold),
        },
        metrics=(ACCURACY,),
        provenance=about,
    )
