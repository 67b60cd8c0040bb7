r"""Writes DeepMath's model card from recorded runs: it measures, keeps what was measured as JSON, and only then writes.

    python deploy/cards/deepmath.py --run runs/deepmath-small --data ../shared/data/premises/deepmath

Every figure in the card comes from a file beside it, and each file names the command that made it. A file that is
there already is not measured again; delete it to do so. ``--only network,knn`` measures and shows those rows alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import yaml

mpl.use("Agg")
ROOT = Path(__file__).parents[2]
CARD = ROOT / "serving/cards/deepmath"
MODEL = "serving/models/premise_encoder/1/model.onnx"
NETWORK = ["--model", MODEL]
PROOFS = ["--names", "DATA/M2k_list", "--sample", "100", "--ranking", "no", "--prove", "16,64,256", "--timeout-s", "5"]
STATIONS = {
    "network": NETWORK,
    "hybrid": [*NETWORK, "--method", "hybrid"],
    "neighbours": [*NETWORK, "--method", "neighbours"],
    "knn": ["--baseline", "knn"],
    "counts": ["--baseline", "counts"],
    "network-proofs": [*NETWORK, *PROOFS],
    "hybrid-proofs": [*NETWORK, "--method", "hybrid", *PROOFS],
    "knn-proofs": ["--baseline", "knn", *PROOFS],
}
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
    parser.add_argument("--only", default=",".join(STATIONS), help="rows: " + ", ".join(STATIONS))
    arguments = parser.parse_args()
    CARD.mkdir(parents=True, exist_ok=True)
    settings, curve = record_run(arguments.run)
    write_json("run", settings)
    write_metrics(curve)
    results = {name: measure(name, STATIONS[name], arguments.data) for name in arguments.only.split(",")}
    draw(curve)
    (CARD / "README.md").write_text(card(results, settings))
    print(f"wrote {CARD / 'README.md'}")  # noqa: T201


def measure(name: str, options: list[str], data: Path) -> dict:
    """The metrics of one station, from its file or from a run of `neurips16 evaluate` that makes the file."""
    path = CARD / f"{name}.json"
    if not path.exists():
        command = ["neurips16", "evaluate", "deepmath", *options, "--data", "DATA", "--json"]
        real = [word.replace("DATA", str(data)) for word in command]
        started = time.monotonic()
        answer = subprocess.run(
            [str(Path(sys.executable).parent / real[0]), *real[1:]], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        seconds = round(time.monotonic() - started)
        record = {"command": shlex.join(command), "seconds": seconds, "metrics": json.loads(answer)}
        write_json(name, record)
    return json.loads(path.read_text())


def write_json(name: str, value: object) -> None:
    """Keep a record beside the card."""
    (CARD / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")


def record_run(run: Path) -> tuple[dict, list[dict[str, str]]]:
    """A run's settings, and the rows of its metrics with those of all its continuations."""
    rows: dict[tuple[str, bool], dict[str, str]] = {}
    parts = sorted((run / "metrics").iterdir(), key=lambda p: int(p.name.split("_")[1]))
    for part in parts:
        with (part / "metrics.csv").open() as file:
            for row in csv.DictReader(file):  # a step that was done again after a stop replaces the lost one
                rows[row["step"], bool(row.get("val_loss"))] = row
    config = yaml.safe_load((parts[-1] / "config.yaml").read_text())
    kept = {"threads": config["threads"], "seed": config["seed_everything"]}
    kept["model"] = {k: v for k, v in config["model"].items() if v not in (None, [])}
    kept["data"] = {k: v for k, v in config["data"].items() if k != "folder"}
    kept["max_epochs"] = config["trainer"]["max_epochs"]
    kept["checkpoint"] = max(run.glob("epoch*.ckpt")).name
    kept["continuations"] = len(parts) - 1
    return kept, sorted(rows.values(), key=lambda row: int(row["step"]))


def write_metrics(curve: list[dict[str, str]]) -> None:
    """All rows, as ``metrics.csv``."""
    names = [
        "epoch",
        "step",
        "train_listed_loss",
        "train_ranking_loss",
        "val_loss",
        "val_ranking_loss",
        "val_pair_accuracy",
    ]
    with (CARD / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: row.get(name, "") for name in names} for row in curve)


def draw(curve: list[dict[str, str]]) -> None:
    """The training curve as a picture."""
    figure, (losses, accuracy) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    for name, label in (("train_ranking_loss", "ranking"), ("train_listed_loss", "listed pairs")):
        steps, values = smoothed([(int(r["step"]), float(r[name])) for r in curve if r.get(name)])
        losses.plot(steps, values, label=label)
    points = [(int(r["step"]), float(r["val_pair_accuracy"])) for r in curve if r.get("val_pair_accuracy")]
    accuracy.plot(*zip(*points, strict=True), marker="o", markersize=4)
    losses.set(xlabel="optimiser step", ylabel="loss (running mean)", yscale="log")
    losses.legend(frameon=False, fontsize=8)
    accuracy.axhline(0.7175, color="grey", linestyle="--", label="counts, as the data set's authors report")
    accuracy.set(xlabel="optimiser step", ylabel="pair accuracy, validation split")
    accuracy.legend(frameon=False, fontsize=8)
    for axes in (losses, accuracy):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(CARD / "curve.png", dpi=110)


def smoothed(points: list[tuple[int, float]], width: int = 10) -> tuple[list[int], list[float]]:
    """A running mean over ``width`` points."""
    steps, values = zip(*points, strict=True)
    means = [
        sum(values[max(0, i - width + 1) : i + 1]) / len(values[max(0, i - width + 1) : i + 1])
        for i in range(len(values))
    ]
    return list(steps), means


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
        notes=(CARD / "notes.md").read_text().strip(),
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
