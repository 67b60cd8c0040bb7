"""Writes the sound classifier's model card from recorded runs: measures, keeps it as JSON, and only then writes.

    python deploy/cards/sound_classifier.py --run runs/sound_classifier-small --data ../shared/data/sound/esc10

Every figure in the card comes from a file beside it, and each file names the command that made it. A file that is
there already is not measured again; delete it to do so. The paper's figures stand in this script, as the paper's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from recording import CARDS, notes, read_run, timed, write_json

CARD = CARDS / "sound_classifier"
TITLES = {
    "log_mel_svm": "log-mel statistics + linear SVM (scikit-learn)",
    "log_mel_forest": "log-mel statistics + random forest of 500",
    "mfcc_svm": "MFCC statistics + linear SVM",
    "mfcc_forest": "MFCC statistics + random forest of 500",
}
# From memory of the paper (tables 2 and 4): on all five folds, trained on four of them.
PAPER = {
    "paper: MFCC + SVM": 0.675,
    "paper: random forest": 0.727,
    "paper: 5-layer network from scratch": 0.823,
    "paper: 8-layer network from scratch": 0.755,
    "paper: 8-layer SoundNet, trained with two million videos, SVM": 0.922,
    "paper: people": 0.957,
}


def main() -> None:
    """Measure what is not measured yet, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the folder that `neurips16 cross-validate` left")
    parser.add_argument("--data", type=Path, required=True, help="the data set")
    arguments = parser.parse_args()
    CARD.mkdir(parents=True, exist_ok=True)
    result = record_run(arguments.run)
    baselines = {name: measure(name, arguments.data) for name in TITLES}
    draw(result)
    (CARD / "README.md").write_text(card(result, baselines, json.loads((CARD / "run.json").read_text())))
    print(f"wrote {CARD / 'README.md'}")  # noqa: T201


def record_run(run: Path) -> dict:
    """Copy the cross-validation's results; writes ``cross_validation.json`` and ``run.json``."""
    result = json.loads((run / "cross_validation.json").read_text())
    (CARD / "cross_validation.json").write_text(json.dumps(result) + "\n")
    final = read_run(run / "all")
    seconds = {f"fold {fold['fold']}": fold["seconds"] for fold in result["folds"]}
    settings = final.settings(max_steps=final.config["trainer"]["max_steps"], checkpoint=final.checkpoint.name)
    write_json(CARD / "run.json", {**settings, "seconds": seconds})
    return result


def measure(name: str, data: Path) -> dict:
    """A baseline's answers and metrics, from its file or from a run of `neurips16 evaluate` that makes the file."""
    path = CARD / f"{name}.json"
    if not path.exists():
        command = ["neurips16", "evaluate", "sound_classifier", "--baseline", name, "--data", "DATA", "--json"]
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as answers:
            printed, seconds = timed(command, data, "--answers", answers.name)
            rows = [json.loads(line) for line in Path(answers.name).read_text().splitlines()]
        folds: dict[str, list[bool]] = {}
        for row in rows:  # ESC-50's names begin with the fold
            folds.setdefault(row["clip"].split("-")[0], []).append(row["class"] == row["answer"])
        record = {
            "command": shlex.join(command),
            "seconds": seconds,
            "metrics": json.loads(printed),
            "folds": {fold: float(np.mean(right)) for fold, right in sorted(folds.items())},
        }
        write_json(path, record)
    return json.loads(path.read_text())


def draw(result: dict) -> None:
    """The confusion matrix, as a picture."""
    labels, matrix = result["labels"], np.array(result["confusion"])
    figure, axes = plt.subplots(figsize=(6.4, 5.4), constrained_layout=True)
    axes.imshow(matrix / matrix.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        dark = matrix[row, column] > matrix[row].sum() / 2
        axes.text(column, row, matrix[row, column], ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="heard as", ylabel="is", title=f"{matrix.sum()} held-out clips")
    axes.spines[:].set_visible(False)
    figure.savefig(CARD / "confusion.png", dpi=110)
    plt.close(figure)


def card(result: dict, baselines: dict[str, dict], run: dict) -> str:
    """The text of the card."""
    rows = ["| | accuracy | deviation over folds |", "|---|---|---|"]
    rows.append(f"| this model's recipe | {result['accuracy_mean']:.3f} | {result['accuracy_std']:.3f} |")
    for name, record in baselines.items():
        folds = list(record["folds"].values())
        rows.append(f"| {TITLES[name]} | {np.mean(folds):.3f} | {np.std(folds, ddof=1):.3f} |")
    rows += [f"| {name} | {accuracy:.3f} | |" for name, accuracy in PAPER.items()]
    folds = ", ".join(f"fold {fold['fold']} {fold['accuracy']:.4f}" for fold in result["folds"])
    labels, matrix = result["labels"], np.array(result["confusion"])
    heard = np.diag(matrix) / matrix.sum(1)
    worst = np.argsort(heard, kind="stable")[:3]
    worst_heard = "; ".join(
        f"{labels[i]} {matrix[i, i]} of {matrix[i].sum()}{_instead(labels, matrix, i)}" for i in worst
    )
    commands = "\n".join(f"    {record['command']}" for record in baselines.values())
    return TEXT.format(
        table="\n".join(rows),
        folds=folds,
        clips=int(matrix.sum()),
        worst=worst_heard,
        steps=run["max_steps"],
        threads=run["threads"],
        minutes=f"{sum(run['seconds'].values()) / 60:.0f}",
        depth=run["model"]["depth"],
        layers=run["model"].get("layers", "all"),
        checkpoint=run["checkpoint"],
        commands=commands,
        notes=notes(CARD),
    )


def _instead(labels: list[str], matrix: np.ndarray, row: int) -> str:
    others = Counter({labels[j]: int(n) for j, n in enumerate(matrix[row]) if j != row and n})
    return f" (taken for {', '.join(name for name, _ in others.most_common(2))})" if others else ""


TEXT = """# Sound classifier: sound_classifier

Written by `python deploy/cards/sound_classifier.py` from the files beside this one.

**What.** Ten everyday sounds are told apart: the {depth}-layer network of SoundNet (Aytar, Vondrick and Torralba,
NIPS 2016) up to its layer {layers}, a linear classifier over its features at each time step, and their mean over the
clip, in which silence has no vote. From scratch: neither the paper's two million videos nor its weights were used.

**Data.** ESC-10 (K. J. Piczak, ACM Multimedia 2015; CC BY 3.0), folds 1 to 4 of its own five: 320 clips of 5 s.

**Run.** {steps} steps for each fold and for the model that ships, which was trained on all four folds and has seen
all of these clips; settings in `run.json`. The four folds took {minutes} minutes in sum, on {threads} CPU thread.

## Results: cross-validation over the folds ({clips} clips, each heard by a network that has not seen its fold)

{table}

By fold: {folds}. The rows of the paper are from memory of it, with an uncertainty of a unit in the last digit; they
are of all five folds, with a fifth more to train on.

## What it hears badly

{worst}.

![which sound is taken for which](confusion.png)

It knows ten sounds and names one of them whatever it hears: a speech or a song gets a class too.

{notes}

## Again

    neurips16 cross-validate sound_classifier --preset small --data DATA
    neurips16 export sound_classifier --checkpoint runs/sound_classifier-small/all/{checkpoint} \\
        --repository serving/models --data DATA
    neurips16 evaluate sound_classifier --model serving/models/sound_classifier/1/model.onnx --data DATA \\
        --split all --json          # on clips that it has not seen; of folds 1 to 4 it has seen all
{commands}
"""


if __name__ == "__main__":
    main()
