"""What a soak leaves: a table to paste, all figures as JSON, and a picture of the memory."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from matplotlib.figure import Figure
from soak.findings import Finding
from soak.memory import FEWEST, PER, SERVER, WARM_UP, Sample, Trend

REPORT, FIGURES, PICTURE = "soak.md", "soak.json", "memory.png"
COLOURS = 10  # of Matplotlib's cycle; what comes after them is dashed


def write_report(
    folder: Path,
    command: str,
    findings: Sequence[Finding],
    memory: Mapping[str, Trend],
    samples: Sequence[Sample],
    seconds: float,
) -> str:
    """Write the three files; the text of the table.

    Args:
        folder: where to.
        command: that was given.
        findings: of all scenarios that were run.
        memory: the trend of each process; empty where there was no mixed load.
        samples: what the trends are of.
        seconds: that it took.
    """
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    lines = [
        f"`{command}`, {today}, {machine}, ONNX Runtime {onnxruntime.__version__}; {seconds / 60:.0f} minutes.",
        "",
    ]
    lines += ["| scenario | figures | |", "|---|---|---|"]
    for finding in findings:
        flat = {name: value for name, value in finding.figures.items() if not _is_table(value)}
        figures = "; ".join(f"{_words(name)} {_value(value)}" for name, value in flat.items())
        outcome = "held" if not finding.failures else f"**{len(finding.failures)} failures**"
        lines.append(f"| {finding.scenario} | {figures} | {outcome} |")
    for name, table in (figure for finding in findings for figure in finding.figures.items()):
        if _is_table(table):
            lines += ["", f"| {_words(name).rstrip(':')} | |", "|---|---|"]
            lines += [f"| {row} | {_value(cell)} |" for row, cell in table.items()]
    if memory:
        lines += [
            "",
            f"| resident memory of | warm, MB | at the end, MB | MB per {PER:,} requests |",
            "|---|---|---|---|",
        ]
        for name, trend in memory.items():
            process = name if name == SERVER else f"`{name}`"
            lines.append(f"| {process} | {trend.warm_mb:.0f} | {trend.last_mb:.0f} | {_slope(trend)} |")
        lines += ["", f"Least squares after the first {WARM_UP:.0%} of the requests."]
        _draw(folder / PICTURE, memory, samples)
    lines += ["", *(f"FAILED {finding.scenario}: {text}" for finding in findings for text in finding.failures)]
    text = "\n".join(lines).rstrip() + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    everything = {
        "command": command,
        "date": today,
        "machine": machine,
        "seconds": round(seconds, 1),
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "memory": {name: dataclasses.asdict(trend) for name, trend in memory.items()},
        "samples": [dataclasses.asdict(sample) for sample in samples],
    }
    (folder / FIGURES).write_text(json.dumps(everything, indent=1, default=str) + "\n", encoding="utf-8")
    return text


def _words(name: str) -> str:
    """A figure's name as people read it; a unit at its end stays one."""
    stem, unit = (
        (name[:-2], ", s") if name.endswith("_s") else (name[:-3], ", MB") if name.endswith("_mb") else (name, "")
    )
    return f"{stem.replace('_', ' ')}{unit}:"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(row, Mapping) for row in value.values())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _slope(trend: Trend) -> str:
    if trend.requests < FEWEST:
        return f"too few requests ({trend.requests:,})"
    return "too few samples" if math.isnan(trend.slope_mb) else f"{trend.slope_mb:+.2f}"


def _draw(path: Path, memory: Mapping[str, Trend], samples: Sequence[Sample]) -> None:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(memory):
        seen = [(sample.answered, sample.resident_mb[name]) for sample in samples if name in sample.resident_mb]
        style = "-" if number < COLOURS else "--"
        axes.plot(*zip(*seen, strict=True), label=name, color=f"C{number}", linestyle=style, linewidth=1.2)
    axes.axvline(WARM_UP * samples[-1].answered, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="requests answered", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
