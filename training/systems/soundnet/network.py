"""SoundNet (Aytar, Vondrick and Torralba, NIPS 2016): what image networks see in a video, from its sound alone.

A fully convolutional student reads the waveform. Two heads give distributions over 1000 objects and 401 scenes, one
every few seconds, and learn from the distributions that two image networks give for the frames of the same seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.sound_pairs.module import PairBatch, SoundPairsData
from neurips16.training.layers.soundnet_layers import HEADS, SAMPLE_RATE_HZ, SoundNetTrunk, initialise, repeated
from neurips16.training.system import System, SystemModule, is_checkpoint, load_module
from neurips16.training.systems.soundnet.published_weights import published_state

SHORTEST_S = 10  # shorter sounds are repeated to this: the 8-layer network needs 9.5 s for one output


class SoundNet(SystemModule):
    """The student with its loss and its optimiser.

    Args:
        depth: 8 or 5 layers.
        width: factor on the published numbers of channels; 1 is the published network.
        objects: classes of the first teacher (ImageNet's 1000).
        scenes: classes of the second (Places' 401).
        initialisation: "paper" or "he", see `initialise`.
        loss_scale: the paper's lambda, 250. The loss is averaged over the classes too, hence the size.
        learning_rate: of Adam.
        beta1: of Adam.
        initial_weights: start from a checkpoint, or from published weights; see `published_weights.py`.
        object_labels: names of the objects, in the teacher's order; the data say.
        scene_labels: names of the scenes.
    """

    system = "soundnet"

    def __init__(
        self,
        depth: int = 8,
        width: float = 1.0,
        objects: int = 1000,
        scenes: int = 401,
        initialisation: str = "paper",
        loss_scale: float = 250.0,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        initial_weights: str | None = None,
        object_labels: Sequence[str] | None = None,
        scene_labels: Sequence[str] | None = None,
    ):
        super().__init__()
        self.save_plain_hyperparameters()
        self.trunk = SoundNetTrunk(depth, width)
        head = HEADS[depth]
        self.objects, self.scenes = (
            nn.Conv1d(self.trunk.channels, classes, head.kernel, head.stride, head.pad) for classes in (objects, scenes)
        )
        initialise(self, initialisation)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms in [-1, 1] at 22,050 Hz, [N, T], to logits of objects [N, O, S] and scenes [N, P, S].

        Raises:
            ValueError: the waveform is too short for one output; `repeated` makes it longer.
        """
        if not torch.compiler.is_exporting() and self.steps(waveform.shape[1]) < 1:
            raise ValueError(
                f"{waveform.shape[1]} samples are too short for one output of the {self.hparams.depth}-layer network: "
                f"repeat them to {SHORTEST_S} s ({SHORTEST_S * SAMPLE_RATE_HZ} samples)"
            )
        values = self.trunk(waveform)
        return self.objects(values), self.scenes(values)

    def features(self, waveform: Tensor) -> dict[str, Tensor]:
        """Every layer's output by name (conv1, relu1, pool1, …), and the heads' logits as objects and scenes."""
        found = self.trunk.features(waveform)
        values = next(reversed(found.values()))
        return {**found, "objects": self.objects(values), "scenes": self.scenes(values)}

    def steps(self, samples: int) -> int:
        """How many outputs S a waveform of so many samples gives: 1 for 10 s, 4 for 20 s."""
        return max(0, HEADS[self.hparams.depth].length(self.trunk.length(samples)))

    # -- training

    def setup(self, stage: str) -> None:
        """At the start of training, take over the weights that it is to start from."""
        if stage == "fit" and self.hparams.initial_weights is not None:
            self.load_state_dict(load_soundnet(self.hparams.initial_weights).state_dict())

    def loss(self, batch: PairBatch) -> Tensor:
        """Lambda times the mean over steps, teachers and classes of p log(p / q) (section 3.1; the authors' script).

        Raises:
            ValueError: the teachers' segments are not as many as the student's outputs.
        """
        terms = []
        for logits, target in zip(self(batch.waveform), (batch.objects, batch.scenes), strict=True):
            if logits.shape != target.shape:
                raise ValueError(
                    f"the student gives {list(logits.shape)} (batch, classes, steps), the teacher "
                    f"{list(target.shape)}: set data.seconds and data.segments so that one segment of the teacher "
                    "belongs to each output"
                )
            terms.append(F.kl_div(F.log_softmax(logits, dim=1), target, reduction="none").mean())
        return self.hparams.loss_scale * torch.stack(terms).mean()

    def training_step(self, batch: PairBatch, batch_index: int) -> Tensor:
        """The loss of a batch."""
        loss = self.loss(batch)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch.waveform))
        return loss

    def validation_step(self, batch: PairBatch, batch_index: int) -> None:
        """The loss, and how often the student's first object and scene are the teachers'."""
        size = len(batch.waveform)
        self.log("val_loss", self.loss(batch), prog_bar=True, batch_size=size)
        for name, logits, target in zip(
            ("objects", "scenes"), self(batch.waveform), (batch.objects, batch.scenes), strict=True
        ):
            agreement = (logits.argmax(1) == target.argmax(1)).float().mean()
            self.log(f"val_{name}_agreement", agreement, prog_bar=True, batch_size=size)

    def configure_optimizers(self) -> Any:
        """Adam, as published."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate, betas=(self.hparams.beta1, 0.999))

    @torch.no_grad()
    def probabilities(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Both distributions at each step, [N, O, S] and [N, P, S], of sounds of any length (short ones repeated)."""
        logits = self(repeated(waveform, SHORTEST_S * SAMPLE_RATE_HZ))
        return logits[0].softmax(1), logits[1].softmax(1)


def load_soundnet(path: str | Path) -> SoundNet:
    """A network from a checkpoint of `neurips16 train soundnet`, or from published weights, in evaluation mode.

    Raises:
        CheckpointError: the file is none of the three, or a tensor is missing, left over or of another shape.
    """
    path = Path(path)
    if is_checkpoint(path):
        return cast(SoundNet, load_module(path, SoundNet.system))
    network = SoundNet()
    own = network.state_dict()
    network.load_state_dict(own | published_state(path, {name: value.shape for name, value in own.items()}))
    return network.eval()


SYSTEM = System(
    name="soundnet",
    module=SoundNet,
    data=SoundPairsData,
    links=tuple((name, name) for name in ("objects", "scenes", "object_labels", "scene_labels")),
)
