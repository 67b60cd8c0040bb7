"""Sounds named by a linear classifier over SoundNet's features: scores at every time step, their mean over the clip.

Two ways to train it, one form in the end. "svm": a linear SVM on the features of a trunk that is given (section 4 of
Aytar et al., NIPS 2016). "end_to_end": trunk and classifier together, from scratch or from a given trunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.audio import read_waveform
from neurips16.training.data.esc50.module import Esc50Data, SoundBatch
from neurips16.training.data.esc50.reader import Clip, read_sound_set
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ, SoundNetTrunk, initialise, repeated
from neurips16.training.optimisation import scheduled
from neurips16.training.system import (
    CHECKPOINT_KEY,
    Folds,
    System,
    SystemModule,
    is_checkpoint,
    load_module,
    read_checkpoint,
)
from neurips16.training.systems.sound_classifier.svm import fit_svm
from neurips16.training.systems.soundnet.network import load_soundnet

HEADS = ("end_to_end", "svm")
SHORTEST_S = 5  # shorter sounds are repeated to this, a clip of ESC-50
_MIN_STEP_WEIGHT = 1e-6  # of a silent step, so that the steps of a sound that is all silence count alike


class StepScores(NamedTuple):
    """What a network says of each time step."""

    scores: Tensor  # [N, C, S]: logits of the classes
    weights: Tensor  # [N, S]: how much each step has to say in the clip's mean

    @property
    def clip_logits(self) -> Tensor:
        """The weighted mean over the steps, [N, C]."""
        weights = self.weights + _MIN_STEP_WEIGHT
        return (self.scores * weights[:, None, :]).sum(2) / weights.sum(1, keepdim=True)


class SoundClassifier(SystemModule):
    """Trunk, linear classifier, and the mean over time steps.

    Args:
        labels: names of the classes.
        held_out_fold: the fold of the data that it is not trained on; 0: none. The data say.
        depth: 8 or 5, of the trunk, see `SoundNetTrunk`.
        width: of the trunk.
        layers: layers of the trunk below the classifier; None takes all. A step then is one of the last layer's.
        head: "end_to_end" or "svm".
        trunk_weights: where the trunk comes from: a checkpoint of soundnet, published weights, or a checkpoint of this
            system; None: from scratch.
        initialisation: of a trunk from scratch, see `initialise`.
        silence_dbfs: a step weighs e / (e + s) in the mean, with its mean square e and this level s, so that silence
            behind a short sound has no vote; None: all steps weigh the same, as in the paper.
        dropout: share of the features that are left out in training.
        learning_rate: of Adam, for end_to_end.
        weight_decay: of AdamW.
        warmup_steps: optimiser steps over which the learning rate rises.
        decay_steps: optimiser steps after which it has fallen to zero along half a cosine; 0: it stays.
        svm_c: values of C for the SVM; the best in a cross-validation over the training folds is taken.
    """

    system = "sound_classifier"

    def __init__(
        self,
        labels: Sequence[str],
        held_out_fold: int = 0,
        depth: int = 8,
        width: float = 1.0,
        layers: int | None = None,
        head: str = "end_to_end",
        trunk_weights: str | None = None,
        initialisation: str = "paper",
        silence_dbfs: float | None = None,
        dropout: float = 0.0,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        decay_steps: int = 0,
        svm_c: Sequence[float] = (0.001, 0.01, 0.1, 1.0),
    ):
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"head is one of {', '.join(HEADS)}; got {head!r}")
        if head == "svm" and trunk_weights is None:
            raise ValueError("head 'svm' needs --model.trunk_weights: features that something has learnt")
        self.save_plain_hyperparameters()
        self.trunk = SoundNetTrunk(depth, width, layers)
        initialise(self.trunk, initialisation)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.trunk.channels, len(labels))
        self.automatic_optimization = head == "end_to_end"
        self._gathered: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def forward(self, waveform: Tensor) -> StepScores:
        """Waveforms in [-1, 1] at 22,050 Hz, [N, T], to scores at each step; see `step_length`."""
        features = self.dropout(self.trunk(waveform).transpose(1, 2))  # [N, S, D]
        return StepScores(self.classifier(features).transpose(1, 2), self._weights(waveform))

    def _weights(self, waveform: Tensor) -> Tensor:
        """How much each step has to say, [N, S]: its mean square against that of silence."""
        energy = (waveform**2)[:, None, :]
        for layer in self.trunk.table:  # averages in place of convolutions: what a step reads, and as many steps
            energy = F.avg_pool1d(energy, layer.kernel, layer.stride, layer.pad)
            if layer.pool > 1:
                energy = F.avg_pool1d(energy, layer.pool)
        energy = energy[:, 0]
        if self.hparams.silence_dbfs is None:
            return torch.ones_like(energy)
        return energy / (energy + 10 ** (self.hparams.silence_dbfs / 10))

    @torch.no_grad()
    def probabilities(self, waveform: Tensor) -> Tensor:
        """Sounds of any length (short ones repeated) to probabilities [N, C]."""
        return self(repeated(waveform, SHORTEST_S * SAMPLE_RATE_HZ)).clip_logits.softmax(1)

    # -- training

    def setup(self, stage: str) -> None:
        """At the start of training, take over the trunk that it is to start from."""
        if stage == "fit" and self.hparams.trunk_weights is not None:
            self.trunk.load_state_dict(trunk_state(self.hparams.trunk_weights, self.trunk))

    def training_step(self, batch: SoundBatch, batch_index: int) -> Tensor | None:
        """Cross-entropy with the shares of each class; for the SVM, only the features are gathered."""
        if not self.automatic_optimization:
            self._gather(batch)
            return None
        logits = self(batch.waveform).clip_logits
        loss = F.cross_entropy(logits, batch.soft_labels)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    @torch.no_grad()
    def _gather(self, batch: SoundBatch) -> None:
        self.trunk.eval()
        features = self.trunk(batch.waveform).transpose(1, 2)  # [N, S, D]
        weights = self._weights(batch.waveform) + _MIN_STEP_WEIGHT
        self._gathered.append(
            (features.cpu().numpy(), weights.cpu().numpy(), batch.soft_labels.argmax(1).cpu().numpy())
        )
        self.optimizers().step()  # changes nothing: it counts, and a run is saved by its steps

    def on_train_epoch_end(self) -> None:
        """For the SVM: fit it to what the epoch has gathered, and make it the classifier."""
        if self.automatic_optimization:
            return
        if len(self._gathered) < self.trainer.num_training_batches:
            raise RuntimeError("the features of this epoch are not all there: start the run again, in another folder")
        features, weights, labels = (np.concatenate(column) for column in zip(*self._gathered, strict=True))
        self._gathered.clear()
        found = fit_svm(features, weights, labels, len(self.hparams.labels), self.hparams.svm_c)
        self.log("svm_c", found.c)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.from_numpy(found.weight))
            self.classifier.bias.copy_(torch.from_numpy(found.bias))

    def validation_step(self, batch: SoundBatch, batch_index: int) -> None:
        """Loss and accuracy over whole clips of the held-out fold."""
        logits, size = self(batch.waveform).clip_logits, len(batch.waveform)
        accuracy = (logits.argmax(1) == batch.soft_labels.argmax(1)).float().mean()
        loss = F.cross_entropy(logits, batch.soft_labels)
        self.log_dict({"val_accuracy": accuracy, "val_loss": loss}, prog_bar=True, batch_size=size)

    def configure_optimizers(self) -> Any:
        """AdamW with a linear rise and a cosine fall of the learning rate; for the SVM, one that does nothing."""
        h = self.hparams
        if not self.automatic_optimization:
            return torch.optim.SGD(self.classifier.parameters(), lr=0.0)
        matrices = [p for p in self.parameters() if p.dim() > 1]
        vectors = [p for p in self.parameters() if p.dim() <= 1]  # biases and gains do not decay
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": h.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=h.learning_rate,
        )
        return scheduled(optimizer, warmup_steps=h.warmup_steps, decay_steps=h.decay_steps)


def trunk_state(path: str, trunk: SoundNetTrunk) -> dict[str, Tensor]:
    """The state of ``trunk`` from the first layers of the network in a file.

    Raises:
        CheckpointError: the file holds no network of either system.
        ValueError: that network's layers are others.
    """
    if is_checkpoint(path) and read_checkpoint(path)[CHECKPOINT_KEY]["system"] == SoundClassifier.system:
        source = cast(SoundClassifier, load_module(path, SoundClassifier.system)).trunk
    else:
        source = load_soundnet(path).trunk
    theirs, own = source.state_dict(), trunk.state_dict()
    if wrong := [name for name, value in own.items() if name not in theirs or theirs[name].shape != value.shape]:
        raise ValueError(
            f"{path} is of another depth or width: {', '.join(wrong)} differ; set --model.depth, width and layers alike"
        )
    return {name: theirs[name] for name in own}


def classify(module: SoundClassifier, clip: Clip) -> int:
    """The label that a network gives a clip as a whole."""
    waveform = torch.from_numpy(read_waveform(clip.path, SAMPLE_RATE_HZ))[None]
    return int(module.probabilities(waveform).argmax())


SYSTEM = System(
    name="sound_classifier",
    module=SoundClassifier,
    data=Esc50Data,
    links=(("labels", "labels"), ("held_out_fold", "held_out_fold")),
    folds=Folds(read_sound_set, classify),
)
