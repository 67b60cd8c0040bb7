r"""Writes DeepMath's model card from recorded runs: it measures, keeps what was measured as JSON, and only then writes.

    python deploy/cards/deepmath.py --runs runs/deepmath-small runs/deepmath-wide runs/deepmath-predictor \
        --data ../shared/data/premises/deepmath

Every figure in the card comes from a file beside it, and each file names the command that made it. A file that is
there already is not measured again; delete it to do so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
from recording import CARDS, finish, measure, notes, points, read_run, write_json, write_rows

CARD = CARDS / "deepmath"
MODEL = "serving/models/premise_encoder/1/model.onnx"
PROOFS = ["--names", "DATA/M2k_list", "--sample", "50", "--ranking", "no", "--prove", "16,64,256", "--timeout-s", "5"]
MEASURED = {
    "network": ["--model", MODEL],
    "knn": ["--baseline", "knn"],
    "counts": ["--baseline", "counts"],
}
COLUMNS = ["stage", "epoch", "step", "train_listed_loss", "train_random_loss", "val_loss", "val_pair_accuracy"]
TITLES = {
    "network": "character CNN (this model)",
    "knn": "k-NN over TF-IDF of symbols (scikit-learn)",
    "counts": "counts of each premise in training",
}


def main() -> None:
    """Measure what is not measured yet, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="the folders that `neurips16 train` left")
    parser.add_argument("--data", type=Path, required=True, help="the data set")
    arguments = parser.parse_args()
    CARD.mkdir(parents=True, exist_ok=True)
    runs = {folder.name.removeprefix("deepmath-"): read_run(folder) for folder in arguments.runs}
    write_json(
        CARD / "run.json",
        {
            stage: run.settings(max_steps=run.config["trainer"]["max_steps"], checkpoint=str(run.checkpoint))
            for stage, run in runs.items()
        },
    )
    curve = [{"stage": stage, **row} for stage, run in runs.items() for row in run.rows]
    write_rows(CARD / "metrics.csv", COLUMNS, curve)
    results = {name: _measure(name, words, arguments.data) for name, words in MEASURED.items()}
    proofs = {
        name: _measure(f"{name}-proofs", [*MEASURED[name], *PROOFS], arguments.data) for name in ("network", "knn")
    }
    draw(curve)
    (CARD / "README.md").write_text(card(results, proofs, json.loads((CARD / "run.json").read_text())))
    print(f"wrote {CARD / 'README.md'}")  # noqa: T201


def _measure(name: str, words: list[str], data: Path) -> dict:
    return measure(CARD / f"{name}.json", "deepmath", words, data)


def draw(curve: list[dict[str, str]]) -> None:
    """The training curve of all stages, one behind the other, as a picture."""
    figure, (losses, accuracy) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    start = 0
    for stage in dict.fromkeys(row["stage"] for row in curve):
        rows = [row for row in curve if row["stage"] == stage]
        for name, label, colour in (
            ("train_listed_loss", "listed pairs", "C0"),
            ("train_random_loss", "other negatives", "C1"),
        ):
            losses.plot(*points(rows, name, mean_over=10, shift=start), color=colour, label=None if start else label)
        accuracy.plot(
            *points(rows, "val_pair_accuracy", shift=start), marker="o", markersize=4, label=f"stage '{stage}'"
        )
        start += max(int(row["step"]) for row in rows) + 1
        for axes in (losses, accuracy):
            axes.axvline(start, color="lightgrey", linewidth=0.8)
    losses.set(xlabel="optimiser step", ylabel="logistic loss (running mean)")
    accuracy.axhline(0.7175, color="grey", linestyle="--", label="counts, as the data set's authors report")
    accuracy.set(xlabel="optimiser step", ylabel="pair accuracy, validation split")
    finish(figure, CARD / "curve.png", dpi=110)


def card(results: dict[str, dict], proofs: dict[str, dict], run: dict) -> str:
    """The text of the card."""
    columns = ["pair_accuracy", "amrr", "recall_at_16", "recall_at_64", "recall_at_256", "recall_at_1024"]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, result in results.items():
        values = " | ".join(f"{result['metrics'][column]:.4f}" for column in columns)
        lines.append(f"| {TITLES[name]} | {values} |")
    tops = ["proved_at_16", "proved_at_64", "proved_at_256"]
    proved = ["| | " + " | ".join(tops) + " |", "|---|" + "---|" * len(tops)]
    for name, result in proofs.items():
        proved.append(f"| {TITLES[name]} | " + " | ".join(f"{result['metrics'][top]:.2f}" for top in tops) + " |")
    first, last = results["network"]["metrics"], list(run.values())[-1]
    commands = "\n".join(f"    {record['command']}" for record in [*results.values(), *proofs.values()])
    return TEXT.format(
        table="\n".join(lines),
        proved="\n".join(proved),
        conjectures=first["conjectures"],
        pairs=first["pairs"],
        proof_conjectures=proofs["network"]["metrics"]["conjectures"],
        stages=", ".join(f"{stage['max_steps']} steps of `{name}`" for name, stage in run.items()),
        training="\n".join(training_commands(run)),
        checkpoint=last["checkpoint"],
        channels=", ".join(map(str, last["model"]["channels"])),
        hidden=last["model"]["hidden"],
        commands=commands,
        notes=notes(CARD),
    )


def training_commands(run: dict) -> Iterator[str]:
    """How each stage is trained, from the checkpoint that the one before it left."""
    for name, stage in run.items():
        start = stage["model"].get("initial_checkpoint")
        yield f"    neurips16 train deepmath --preset {name} --data DATA" + (
            f" --model.initial_checkpoint {start}" if start else ""
        )


TEXT = """# DeepMath premise selection: conjecture_encoder, premise_encoder, premise_ranker

Written by `python deploy/cards/deepmath.py` from the files beside this one.

**What.** Given a conjecture and statements in TPTP form, which of them help to prove it? Two character-level
convolutional encoders and a two-layer predictor (Irving et al., *DeepMath - Deep Sequence Models for Premise
Selection*, NIPS 2016), with {channels} channels and {hidden} hidden units where the published network has
128, 512, 1024 and 1024.

**Data.** Mizar40 (repository JUrban/deepmath; GPL-3.0-or-later or CC-BY-SA-3.0-or-later by the Association of Mizar
Users), 31,924 conjectures. The split is by conjecture, fixed by a hash of its name: 10 % test, 2 % validation.

**Run.** {stages}, each preset from the end of the one before, on two CPU cores; settings in `run.json`, curve in
`metrics.csv`. Weights are stored as FP16; arithmetic is FP32.

![training curve](curve.png)

## Results on the test split ({conjectures} conjectures, {pairs} listed pairs)

{table}

The listed useless premises were chosen by nearest neighbours, so pair accuracy measures what is left to say beyond
similarity. For `amrr` (lower is better) and recall, a conjecture's candidates are *all* statements before it in
library order. For the pair accuracy of k-NN its threshold is the best on training pairs. The authors of the data set
report 0.7175 for counts, on a split of their own.

Conjectures of the test split in `M2k_list` ({proof_conjectures}, evenly spaced) that E proves within 5 s from the k
best premises:

{proved}

{notes}

## Again

{training}
    neurips16 export deepmath --checkpoint {checkpoint} --repository serving/models --data DATA
{commands}
"""


if __name__ == "__main__":
    main()
