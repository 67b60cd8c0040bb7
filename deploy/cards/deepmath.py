r"""Writes DeepMath's model card from recorded runs: it measures, keeps what was measured as JSON, and only then writes.

    python deploy/cards/deepmath.py --run runs/deepmath-small --data ../shared/data/premises/deepmath

Every figure in the card comes from a file beside it, and each file names the command that made it. A file that is
there already is not measured again; delete it to do so. ``--only network,knn`` measures and shows those rows alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from recording import CARDS, finish, measure, notes, points, read_run, write_json, write_rows

CARD = CARDS / "deepmath"
MODEL = "serving/models/premise_encoder/1/model.onnx"
NETWORK = ["--model", MODEL]
PROOFS = ["--names", "DATA/M2k_list", "--sample", "100", "--ranking", "no", "--prove", "16,64,256", "--timeout-s", "5"]
TARGETS = {
    "network": NETWORK,
    "hybrid": [*NETWORK, "--method", "hybrid"],
    "neighbours": [*NETWORK, "--method", "neighbours"],
    "knn": ["--baseline", "knn"],
    "counts": ["--baseline", "counts"],
    "network-proofs": [*NETWORK, *PROOFS],
    "hybrid-proofs": [*NETWORK, "--method", "hybrid", *PROOFS],
    "knn-proofs": ["--baseline", "knn", *PROOFS],
}
COLUMNS = [
    "epoch",
    "step",
    "train_listed_loss",
    "train_ranking_loss",
    "val_loss",
    "val_ranking_loss",
    "val_pair_accuracy",
]
TITLES = {
    "network": "the network alone",
    "hybrid": "hybrid: network, similarity and votes (the client's default)",
    "neighbours": "similarity and votes alone",
    "knn": "k-NN over TF-IDF of symbols (scikit-learn)",
    "counts": "counts of each premise in training",
}


def main() -> None:
    """Measure what is not measured yet, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the folder that `neurips16 train` left")
    parser.add_argument("--data", type=Path, required=True, help="the data set")
    parser.add_argument("--only", default=",".join(TARGETS), help="rows: " + ", ".join(TARGETS))
    arguments = parser.parse_args()
    CARD.mkdir(parents=True, exist_ok=True)
    run = read_run(arguments.run)
    settings = run.settings(max_epochs=run.config["trainer"]["max_epochs"], checkpoint=run.checkpoint.name)
    write_json(CARD / "run.json", settings)
    write_rows(CARD / "metrics.csv", COLUMNS, run.rows)
    results = {
        name: measure(CARD / f"{name}.json", "deepmath", TARGETS[name], arguments.data)
        for name in arguments.only.split(",")
    }
    draw(run.rows)
    (CARD / "README.md").write_text(card(results, settings))
    print(f"wrote {CARD / 'README.md'}")  # noqa: T201


def draw(curve: list[dict[str, str]]) -> None:
    """The training curve as a picture."""
    figure, (losses, accuracy) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    for name, label in (("train_ranking_loss", "ranking"), ("train_listed_loss", "listed pairs")):
        losses.plot(*points(curve, name, mean_over=10), label=label)
    accuracy.plot(*points(curve, "val_pair_accuracy"), marker="o", markersize=4)
    losses.set(xlabel="optimiser step", ylabel="loss (running mean)", yscale="log")
    accuracy.axhline(0.7175, color="grey", linestyle="--", label="counts, as the data set's authors report")
    accuracy.set(xlabel="optimiser step", ylabel="pair accuracy, validation split")
    finish(figure, CARD / "curve.png", dpi=110)


def card(results: dict[str, dict], run: dict) -> str:
    """The text of the card."""
    rankings = {name: result for name, result in results.items() if not name.endswith("-proofs")}
    proofs = {name.removesuffix("-proofs"): result for name, result in results.items() if name.endswith("-proofs")}
    columns = ["pair_accuracy", "amrr", *(f"recall_at_{k}" for k in (16, 64, 256, 1024))]
    table = rows(rankings, columns)
    proved = "Not measured for this model yet."
    if proofs:
        size = next(iter(proofs.values()))["metrics"]["conjectures"]
        proved = PROVED.format(size=size, table=rows(proofs, [f"proved_at_{k}" for k in (16, 64, 256)]))
    first = next(iter(rankings.values()))["metrics"]
    return TEXT.format(
        table=table,
        proved=proved,
        conjectures=first["conjectures"],
        pairs=first["pairs"],
        epochs=run["max_epochs"],
        checkpoint=run["checkpoint"],
        commands="\n".join(f"    {record['command']}" for record in results.values()),
        notes=notes(CARD),
    )


def rows(results: dict[str, dict], columns: list[str]) -> str:
    """A table: a row for each result."""
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, result in results.items():
        values = " | ".join(f"{result['metrics'][column]:.4f}" for column in columns)
        lines.append(f"| {TITLES[name]} | {values} |")
    return "\n".join(lines)


PROVED = """Conjectures of the test split in `M2k_list` ({size}, evenly spaced) that E proves within 5 s from the k best
premises:

{table}"""

TEXT = """# DeepMath premise selection: premise_encoder, premise_ranker

Written by `python deploy/cards/deepmath.py` from the files beside this one.

**What.** Given a conjecture and statements in TPTP form, which of them help to prove it? Hashes of a statement's words,
of their endings and of neighbouring words find rows of one table of embeddings; two towers, one for conjectures and one
for premises, make of their sum the vectors whose product is the score (`training/systems/deepmath/network.py`). The
task is that of Irving et al., *DeepMath - Deep Sequence Models for Premise Selection*, NIPS 2016, whose encoders read
sequences; this one is simpler, and it is trained to rank the whole library.

**Data.** Mizar40 (repository JUrban/deepmath; GPL-3.0-or-later or CC-BY-SA-3.0-or-later by the Association of Mizar
Users), 31,924 conjectures. The split is by conjecture, fixed by a hash of its name: 10 % test, 2 % validation.

**Run.** Preset `small`, {epochs} epochs on one CPU core; settings in `run.json`, curve in `metrics.csv`. Weights are
stored as FP16; arithmetic is FP32.

![training curve](curve.png)

## Results on the test split ({conjectures} conjectures, {pairs} listed pairs)

{table}

The listed useless premises were chosen by nearest neighbours, so pair accuracy measures what is left to say beyond
similarity. For `amrr` (lower is better) and recall, a conjecture's candidates are *all* statements before it in
library order. For the pair accuracy of k-NN its threshold is the best on training pairs. The authors of the data set
report 0.7175 for counts, on a split of their own.

{proved}

## What to know

{notes}

## Again

    neurips16 train deepmath --preset small --data DATA
    neurips16 export deepmath --checkpoint runs/deepmath-small/{checkpoint} --repository serving/models --data DATA
{commands}
"""


if __name__ == "__main__":
    main()
