"""k-fold cross-validation over a data set's own folds, and the final run on all of them.

    OUTPUT/fold1/, OUTPUT/fold2/, …   a run of `run_training` each, that held out one fold
    OUTPUT/all/                       the run on all folds: the model to keep
    OUTPUT/cross_validation.json      every held-out example, its class and the predicted one

A cross-validation that was stopped resumes: a fold that is finished is not trained again. So folds may also be
trained one by one with `train_fold`, at the same time, before the cross-validation collects them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurips16.training.errors import CheckpointError, DataError, UnknownSystemError
from neurips16.training.metrics.classification import classification_metrics, confusion_matrix
from neurips16.training.run import run_training
from neurips16.training.system import Folds, find_system, load_module

RESULTS = "cross_validation.json"
FINAL = "all"
_FOLD = "fold.json"


def cross_validate(
    system_name: str, preset: str, data: Path, output: Path, extra: Sequence[str] = (), *, final: bool = True
) -> dict[str, Any]:
    """Train once without each fold, measure on it, and then train on all.

    Args:
        system_name: a system whose data have folds.
        preset: one of its presets.
        data: the data set's folder.
        output: see above.
        extra: further LightningCLI arguments, for every run.
        final: whether to make the run on all folds too.

    Returns:
        What is written to ``cross_validation.json``.

    Raises:
        UnknownSystemError: the system has no folds.
        DataError: the data are not in their public layout.
    """
    found = _folds(system_name).read(data)
    folds = [train_fold(system_name, preset, data, output, k, extra) for k in found.folds]
    rows = [row for fold in folds for row in fold["clips"]]
    truth, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    accuracies = [fold["accuracy"] for fold in folds]
    results = {
        "labels": list(found.labels),
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0,
        "metrics": classification_metrics(found.labels, truth, answers),
        "confusion": confusion_matrix(truth, answers, len(found.labels)).tolist(),
        "folds": folds,
    }
    (output / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if final:
        run_training(system_name, preset, data, output / FINAL, extra)
    return results


def train_fold(
    system_name: str, preset: str, data: Path, output: Path, fold: int, extra: Sequence[str] = ()
) -> dict[str, Any]:
    """Train without one fold and measure on it, unless its results are there.

    Args:
        system_name: a system whose data have folds.
        preset: one of its presets.
        data: the data set's folder.
        output: the cross-validation's folder; the run is the folder of the fold in it.
        fold: the number of the fold that is held out.
        extra: further LightningCLI arguments.

    Returns:
        What is written to ``foldN/fold.json``: fold, accuracy, seconds and the examples with their answers.

    Raises:
        UnknownSystemError: the system has no folds.
        DataError: the data are not in their public layout, or have no such fold.
        CheckpointError: the training ended within its first epoch.
    """
    folds = _folds(system_name)
    found = folds.read(data)
    examples = found.within(fold)
    if not examples:
        raise DataError(f"{data} has no fold {fold}; it has {', '.join(map(str, found.folds))}")
    run = output / f"fold{fold}"
    record = run / _FOLD
    if not record.exists():
        started = time.monotonic()
        checkpoint = run_training(system_name, preset, data, run, [f"--data.held_out_fold={fold}", *extra])
        if checkpoint is None:
            raise CheckpointError(f"{run} has no checkpoint: no epoch was finished, train for longer")
        module = load_module(checkpoint, system_name)
        rows = [
            {"clip": example.name, "label": example.label, "answer": folds.classify(module, example)}
            for example in examples
        ]
        result = {
            "fold": fold,
            "accuracy": float(np.mean([row["label"] == row["answer"] for row in rows])),
            "seconds": round(time.monotonic() - started),  # of this start; a run that was continued took longer
            "clips": rows,
        }
        record.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


def _folds(system_name: str) -> Folds:
    folds = find_system(system_name).folds
    if folds is None:
        raise UnknownSystemError(f"the data of {system_name} have no folds: it cannot be cross-validated")
    return folds
