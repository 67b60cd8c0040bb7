"""What all card scripts do: keep a run's settings and metrics, measure once, smooth curves, take in a person's notes.

Every figure in a card comes from a file beside it, and each file names the command that made it. What is measured
already is not measured again: delete its file to do so.
"""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import yaml

mpl.use("Agg")
ROOT = Path(__file__).parents[2]
MODELS = ROOT / "serving/models"
CARDS = ROOT / "serving/cards"
BUILD = ROOT / "build/cards"
Row = dict[str, str]


@dataclass(frozen=True)
class Run:
    """A folder that `neurips16 train` left: its last configuration, and the metrics of all its continuations."""

    folder: Path
    config: dict[str, Any]
    rows: list[Row]  # by step; a step that was done again after a stop replaces the lost one
    continuations: int

    @property
    def checkpoint(self) -> Path:
        """The file of its last epoch."""
        return max(self.folder.glob("epoch*.ckpt"))

    def settings(self, **more: Any) -> dict[str, Any]:
        """What a card keeps of the configuration."""
        return {
            "model": {k: v for k, v in self.config["model"].items() if v is not None},
            "data": {k: v for k, v in self.config["data"].items() if k != "folder"},
            "seed": self.config["seed_everything"],
            "threads": self.config["threads"],
            "continuations": self.continuations,
            **more,
        }


def read_run(folder: Path) -> Run:
    """Read what a run has left."""
    parts = sorted((folder / "metrics").iterdir(), key=lambda part: int(part.name.split("_")[1]))
    rows: dict[tuple[int, bool], Row] = {}
    for file in (part / "metrics.csv" for part in parts):
        if file.is_file():
            with file.open() as opened:
                for row in csv.DictReader(opened):
                    validated = any(value for name, value in row.items() if name.startswith("val_"))
                    rows[int(row["step"]), validated] = row
    config = yaml.safe_load((parts[-1] / "config.yaml").read_text())
    return Run(folder, config, [rows[key] for key in sorted(rows)], len(parts) - 1)


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Row]) -> None:
    """Keep some columns as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: row.get(name, "") for name in names} for row in rows)


def write_json(path: Path, value: object) -> None:
    """Keep a record beside the card."""
    path.write_text(json.dumps(value, indent=2) + "\n")


def measure(path: Path, system: str, options: Sequence[str], data: Path) -> dict:
    """The metrics of `neurips16 evaluate`, from its file ``path`` or from a run that makes the file."""
    if not path.exists():
        command = ["neurips16", "evaluate", system, *options, "--data", "DATA", "--json"]
        done, seconds = timed(command, data)
        write_json(path, {"command": shlex.join(command), "seconds": seconds, "metrics": json.loads(done)})
    return json.loads(path.read_text())


def timed(command: Sequence[str], data: Path, *more: str) -> tuple[bytes, int]:
    """What a command of ours prints, with DATA for the data set's folder, and the seconds that it took."""
    words = [word.replace("DATA", str(data.absolute())) for word in (*command, *more)]
    started = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.executable).parent / words[0]), *words[1:]], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    return done.stdout, round(time.monotonic() - started)


def newest_model(name: str) -> Path:
    """The file of a shipped model's newest version."""
    return max((MODELS / name).glob("*/model.onnx"), key=lambda path: int(path.parent.name))


def points(rows: Iterable[Row], name: str, *, mean_over: int = 1, shift: int = 0) -> tuple[list[int], list[float]]:
    """Steps and values of a metric, as running means."""
    found = [(shift + int(row["step"]), float(row[name])) for row in rows if row.get(name)]
    values = [value for _, value in found]
    means = [float(np.mean(values[max(0, i - mean_over + 1) : i + 1])) for i in range(len(values))]
    return [step for step, _ in found], means


def finish(figure: Any, path: Path, *, dpi: int) -> None:
    """Give a figure its legends, without boxes, and write it."""
    for axes in figure.axes:
        if axes.get_legend() is None and axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=dpi)


def notes(card: Path) -> str:
    """What a person has noted for a card."""
    path = card / "notes.md"
    return path.read_text().strip() if path.exists() else "Nothing noted yet."
