r"""Writes DeepMath's model card from recorded runs: it measures, keeps what was measured as JSON, and only then writes.

    python deploy/cards/deepmath.py --runs runs/seed-0 runs/seed-1 runs/seed-2 --data ../shared/data/premises/deepmath

The runs differ in their seeds; the one with the least loss on the validation split is the one that ships, and the
figures of the others show how far a seed matters. Every figure in the card comes from a file beside it, and each file
names the command that made it. A file that is there already is not measured again; delete it to do so.
``--only network,knn`` measures and shows those rows alone. Runs of E take hours, so they are not made here, but by the
commands at the card's end, which go on where they were stopped; the card counts what their logs hold.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from recording import CARDS, Run, finish, measure, notes, points, read_run, write_json, write_rows

CARD = CARDS / "deepmath"
MODEL = "serving/models/premise_encoder/1/model.onnx"
NETWORK = ["--model", MODEL]
PROOFS = "--sample 300 --seed 1 --ranking no --prove {tops} --timeout-s 5 --log serving/cards/deepmath/{name}.jsonl"
TARGETS = {
    "network": NETWORK,
    "hybrid": [*NETWORK, "--method", "hybrid"],
    "neighbours": [*NETWORK, "--method", "neighbours"],
    "knn": ["--baseline", "knn"],
    "counts": ["--baseline", "counts"],
}
PROVERS = {
    "hybrid": ("proofs-hybrid", "16,64,256", f"--model {MODEL} --method hybrid"),
    "network": ("proofs-network", "16,64,256", f"--model {MODEL}"),
    "knn": ("proofs-knn", "16,64,256,all", "--baseline knn"),
}
TOPS = ("16", "64", "256")
SINE = "all"  # E itself selects among everything before the conjecture
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
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="the folders that `neurips16 train` left")
    parser.add_argument("--data", type=Path, required=True, help="the data set")
    parser.add_argument("--only", default=",".join(TARGETS), help="rows: " + ", ".join(TARGETS))
    arguments = parser.parse_args()
    CARD.mkdir(parents=True, exist_ok=True)
    runs = sorted(map(read_run, arguments.runs), key=validation_loss)
    shipped = runs[0]
    settings = shipped.settings(max_epochs=shipped.config["trainer"]["max_epochs"], checkpoint=shipped.checkpoint.name)
    write_json(CARD / "run.json", settings)
    write_rows(CARD / "metrics.csv", COLUMNS, shipped.rows)
    results = {
        name: measure(CARD / f"{name}.json", "deepmath", TARGETS[name], arguments.data)
        for name in arguments.only.split(",")
    }
    for run in runs:
        seed = run.config["seed_everything"]
        record = measure(CARD / f"seed-{seed}.json", "deepmath", ["--checkpoint", str(run.checkpoint)], arguments.data)
        write_json(CARD / f"seed-{seed}.json", record | {"validation_loss": validation_loss(run)})
    draw(shipped.rows)
    proofs = {name: read_proofs(CARD / f"{log}.jsonl") for name, (log, _, _) in PROVERS.items()}
    (CARD / "README.md").write_text(card(results, read_seeds(), proofs, settings))
    print(f"wrote {CARD / 'README.md'}")  # noqa: T201


def validation_loss(run: Run) -> float:
    """Both losses on the validation split after the last epoch: what training makes smaller."""
    last = [row for row in run.rows if row.get("val_loss")][-1]
    return float(last["val_loss"]) + float(last["val_ranking_loss"])


def read_seeds() -> dict[int, dict[str, float]]:
    """The metrics of each seed's checkpoint, from the files beside the card."""
    seeds = {}
    for path in sorted(CARD.glob("seed-*.json")):
        record = json.loads(path.read_text())
        seeds[int(path.stem.split("-")[1])] = record["metrics"] | {"validation_loss": record["validation_loss"]}
    return seeds


def read_proofs(log: Path) -> dict[str, dict[str, bool]]:
    """Whether E proved a conjecture, by conjecture and number of premises; only those with a run for each number."""
    found: dict[str, dict[str, bool]] = {}
    lines = log.read_text().splitlines() if log.exists() else []
    for run in map(json.loads, lines):
        found.setdefault(run["conjecture"], {})[str(run["k"])] = run["proved"]
    return {name: proved for name, proved in found.items() if set(TOPS) <= set(proved)}


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


def card(results: dict[str, dict], seeds: dict, proofs: dict, run: dict) -> str:
    """The text of the card."""
    first = next(iter(results.values()))["metrics"]
    columns = ["pair_accuracy", "amrr", *(f"recall_at_{k}" for k in (16, 64, 256, 1024))]
    return TEXT.format(
        table=rows({TITLES[name]: result["metrics"] for name, result in results.items()}, columns),
        seeds=seed_table(seeds, [*columns, "validation_loss"]),
        proved=proof_table(proofs),
        conjectures=first["conjectures"],
        pairs=first["pairs"],
        epochs=run["max_epochs"],
        seed=run["seed"],
        checkpoint=run["checkpoint"],
        commands="\n".join(f"    {record['command']}" for record in results.values()),
        proof_commands="\n".join(
            f"    neurips16 evaluate deepmath {target} --data DATA {PROOFS.format(tops=tops, name=name)}"
            for name, tops, target in PROVERS.values()
        ),
        notes=notes(CARD),
    )


def seed_table(seeds: dict[int, dict[str, float]], columns: list[str]) -> str:
    """A row for each seed, then mean and standard deviation."""
    table = {f"seed {seed}": metrics for seed, metrics in sorted(seeds.items())}
    if len(seeds) > 1:
        values = {column: [metrics[column] for metrics in seeds.values()] for column in columns}
        table["mean"] = {column: float(np.mean(v)) for column, v in values.items()}
        table["standard deviation"] = {column: float(np.std(v, ddof=1)) for column, v in values.items()}
    return rows(table, columns)


def proof_table(proofs: dict[str, dict[str, dict[str, bool]]]) -> str:
    """What E proved of the conjectures that every method's log holds; draws it, too."""
    logs = {name: log for name, log in proofs.items() if log}
    if not logs:
        return "Not measured for this model yet."
    names = sorted(set.intersection(*(set(log) for log in logs.values())))
    shares = {name: [float(np.mean([log[n][k] for n in names])) for k in TOPS] for name, log in logs.items()}
    table = {TITLES[name]: dict(zip(TOPS, values, strict=True)) for name, values in shares.items()}
    lines = [rows(table, list(TOPS))]
    sine = [log[n][SINE] for log in logs.values() for n in names if SINE in log[n]]
    if len(sine) == len(names):
        lines.append(f"E alone, its own SInE selecting among everything before the conjecture: {np.mean(sine):.4f}.")
    union = [any(proved for log in logs.values() for proved in log[n].values()) for n in names]
    lines.append(f"All of them together: {np.mean(union):.4f}.")
    figure, axes = plt.subplots(figsize=(5.5, 3.4), constrained_layout=True)
    for name, values in shares.items():
        axes.plot([int(k) for k in TOPS], values, marker="o", label=TITLES[name].split(":")[0])
    if len(sine) == len(names):
        axes.axhline(float(np.mean(sine)), color="grey", linestyle="--", label="E alone, with SInE")
    axes.set(xscale="log", xlabel="premises", ylabel=f"share of {len(names)} conjectures proved", ylim=(0, None))
    axes.set_xticks([int(k) for k in TOPS], TOPS)
    finish(figure, CARD / "proved.png", dpi=110)
    return PROVED.format(size=len(names), table="\n\n".join(lines))


def rows(results: dict[str, dict[str, float]], columns: list[str]) -> str:
    """A table: a row for each result."""
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, result in results.items():
        values = " | ".join(f"{result[column]:.4f}" for column in columns)
        lines.append(f"| {name} | {values} |")
    return "\n".join(lines)


PROVED = """Of {size} conjectures of the test split, drawn at random, E proves within 5 seconds of a processor, from the
best 16, 64 and 256 premises, this share:

{table}

![Share of conjectures proved over the number of premises](proved.png)

More premises hold more of what is needed, but E's search among them takes longer: with the time kept, a proof that it
finds from 64 premises may not be found from 256."""

TEXT = """# DeepMath premise selection: premise_encoder, premise_ranker

Written by `python deploy/cards/deepmath.py` from the files beside this one.

**What.** Given a conjecture and statements in TPTP form, which of them help to prove it? Hashes of a statement's words,
of their endings and of neighbouring words find rows of one table of embeddings; two towers, one for conjectures and one
for premises, make of their sum the vectors whose product is the score (`training/systems/deepmath/network.py`). The
premise's tower also sees how often training listed the statement as useful and as useless, which the model remembers by
the statement's words. The task is that of Irving et al., *DeepMath - Deep Sequence Models for Premise Selection*, NIPS
2016, whose encoders read sequences; this one is simpler, and it is trained to rank the whole library.

**Data.** Mizar40 (repository JUrban/deepmath; GPL-3.0-or-later or CC-BY-SA-3.0-or-later by the Association of Mizar
Users), 31,924 conjectures. The split is by conjecture, fixed by a hash of its name: 10 % test, 2 % validation.

**Run.** Preset `small`, {epochs} epochs on one CPU core; settings in `run.json`, curve in `metrics.csv`. Of the seeds
below, seed {seed} has the least loss on the validation split, and ships. Weights are stored as FP16; arithmetic is
FP32.

![training curve](curve.png)

## Results on the test split ({conjectures} conjectures, {pairs} listed pairs)

{table}

The listed useless premises were chosen by nearest neighbours, so pair accuracy measures what is left to say beyond
similarity. For `amrr` (lower is better) and recall, a conjecture's candidates are *all* statements before it in
library order. For the pair accuracy of k-NN its threshold is the best on training pairs. The authors of the data set
report 0.7175 for counts, on a split of their own.

The network alone, as trained with several seeds (checkpoints, before weights are rounded to FP16):

{seeds}

## Proofs

{proved}

## What to know

{notes}

## Again

    for seed in 0 1 2; do
        neurips16 train deepmath --preset small --data DATA --output runs/seed-$seed \\
            --seed_everything $seed --data.seed $seed
    done
    neurips16 export deepmath --checkpoint runs/seed-{seed}/{checkpoint} --repository serving/models --data DATA
    python deploy/cards/deepmath_hybrid.py --data DATA
{commands}
{proof_commands}
"""


if __name__ == "__main__":
    main()
