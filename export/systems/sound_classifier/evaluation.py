"""How well sounds are named, at every station: a checkpoint, an ONNX file, a server, or a baseline."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from neurips16.clients import Client
from neurips16.clients.tasks.classify_sound.calls import MODEL
from neurips16.export.errors import EvaluationError
from neurips16.export.registry import Station
from neurips16.export.session import make_session
from neurips16.export.spec import read_spec
from neurips16.training.data.audio import read_waveform
from neurips16.training.data.esc50.reader import Clip, SoundSet, read_sound_set
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ
from neurips16.training.metrics.sound_classification import classification_metrics
from neurips16.training.system import load_module
from neurips16.training.systems.sound_classifier.baselines import BASELINES, cross_validated
from neurips16.training.systems.sound_classifier.network import SoundClassifier

OPTIONS = {"answers": "a file that gets one JSON line for each clip: its name, its class and the one it was given"}
_log = logging.getLogger(__name__)
Answer = Callable[[Path], str]  # a sound file -> the name of its likeliest class


def evaluate(station: Station, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """Measure a station on a set in ESC-50's layout.

    Args:
        station: a checkpoint, an exported model, a server, or a baseline.
        data: the set's folder.
        split: "test": the fold that the model has not seen; all clips where it has seen every fold. "all": all clips.
            A baseline is always cross-validated over the set's folds, whatever the split.
        options: see `OPTIONS`.

    Returns:
        ``clips``, ``accuracy``, and ``recall_CLASS`` for each class.

    Raises:
        EvaluationError: the model has other classes than the set, or an option's value cannot be used.
    """
    if split not in ("test", "all"):
        raise EvaluationError(f"the split is 'test' or 'all', got {split!r}")
    sounds = read_sound_set(data)
    if station.baseline is not None:
        if station.baseline not in BASELINES:
            raise EvaluationError(f"there is no baseline {station.baseline!r}; there are: {', '.join(BASELINES)}")
        pairs = cross_validated(station.baseline, sounds)
    else:
        labels, fold, answer = _open(station)
        if unknown := sorted(set(sounds.labels) - set(labels)):
            raise EvaluationError(f"the model does not know the classes {', '.join(unknown)}; it has {labels}")
        pairs = [(clip, sounds.labels.index(answer(clip.path))) for clip in _chosen(sounds, split, fold)]
    if "answers" in options:
        _write(Path(options["answers"]), sounds, pairs)
    return classification_metrics(sounds.labels, [clip.label for clip, _ in pairs], [found for _, found in pairs])


def _chosen(sounds: SoundSet, split: str, held_out_fold: int) -> list[Clip]:
    if split == "all":
        return list(sounds.clips)
    if clips := sounds.within(held_out_fold):
        return clips
    _log.warning("the model held out none of the folds %s: all clips are taken", sounds.folds)
    return list(sounds.clips)


def _open(station: Station) -> tuple[Sequence[str], int, Answer]:
    """A station's classes, the fold that it has not seen (0: none), and how it answers."""
    if station.checkpoint is not None:
        network = load_module(station.checkpoint, "sound_classifier")
        assert isinstance(network, SoundClassifier)
        names = network.hparams.labels

        def trained(path: Path) -> str:
            return names[int(network.probabilities(torch.from_numpy(_waveform(path))).argmax())]

        return names, network.hparams.held_out_fold, trained
    if station.model is not None:
        parameters = read_spec(station.model).parameters
        labels = json.loads(parameters["labels"])
        session = make_session(station.model, intra_op_threads=0)

        def exported(path: Path) -> str:
            likely = session.run(["class_probabilities"], {"waveform": _waveform(path)})[0]
            return labels[int(likely.argmax())]

        return labels, int(parameters["held_out_fold"]), exported
    client = Client(station.url)
    config = client.model_config(MODEL)

    def served(path: Path) -> str:
        return client.classify_sound(path, top_k=1)[0].label

    return json.loads(config.parameters["labels"]), int(config.parameters["held_out_fold"]), served


def _waveform(path: Path) -> np.ndarray:
    return read_waveform(path, SAMPLE_RATE_HZ)[None]


def _write(path: Path, sounds: SoundSet, pairs: Sequence[tuple[Clip, int]]) -> None:
    rows = (
        {"clip": clip.path.name, "class": sounds.labels[clip.label], "answer": sounds.labels[found]}
        for clip, found in pairs
    )
    try:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"--answers {path} cannot be written: {error.strerror}") from error
