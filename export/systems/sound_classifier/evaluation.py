"""How well sounds are named: by a checkpoint, an ONNX file, a server, or a baseline."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurips16.export.errors import EvaluationError
from neurips16.export.registry import Target
from neurips16.export.station import Station, open_station
from neurips16.export.systems.sound_classifier.models import MODEL, models
from neurips16.training.data.audio import read_waveform
from neurips16.training.data.esc50.reader import Clip, SoundSet, read_sound_set
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ
from neurips16.training.metrics.classification import classification_metrics
from neurips16.training.systems.sound_classifier.baselines import BASELINES, cross_validated

OPTIONS = {"answers": "a file that gets one JSON line for each clip: its name, its class and the one it was given"}
_log = logging.getLogger(__name__)


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """Measure a target on a set in ESC-50's layout.

    Args:
        target: a checkpoint, an exported model, a server, or a baseline.
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
    if target.baseline is not None:
        if target.baseline not in BASELINES:
            raise EvaluationError(f"there is no baseline {target.baseline!r}; there are: {', '.join(BASELINES)}")
        pairs = cross_validated(target.baseline, sounds)
    else:
        with open_station(target, "sound_classifier", MODEL, models) as model:
            pairs = _answers(model, sounds, split)
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


def _answers(model: Station, sounds: SoundSet, split: str) -> list[tuple[Clip, int]]:
    """The clips of a split with the class that the model gives each."""
    if unknown := sorted(set(sounds.labels) - set(model.labels)):
        raise EvaluationError(f"the model does not know the classes {', '.join(unknown)}; it has {model.labels}")
    pairs = []
    for clip in _chosen(sounds, split, int(model.parameters["held_out_fold"])):
        likely = model.ask({"waveform": read_waveform(clip.path, SAMPLE_RATE_HZ)[None]})["class_probabilities"]
        pairs.append((clip, sounds.labels.index(model.labels[int(likely.argmax())])))
    return pairs


def _write(path: Path, sounds: SoundSet, pairs: Sequence[tuple[Clip, int]]) -> None:
    rows = (
        {"clip": clip.path.name, "class": sounds.labels[clip.label], "answer": sounds.labels[found]}
        for clip, found in pairs
    )
    try:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"--answers {path} cannot be written: {error.strerror}") from error
