"""What a run found, as a table and as a picture, and both in the documents."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LIMIT = "in process"
OURS = "neurips16"
DOCUMENT = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- what the run found -->", "<!-- end -->"
TABLE, PICTURE = "table.md", "peers.png"
BUSY = 0.9  # of a core: above, the load generator was the limit, not the server
HEADINGS = ("", "setting", "1 at once", "4", "16", "best, answers/s", "of the limit", "p50 ms", "p99 ms", "generator")
COLOURS = {OURS: "#c2410c", LIMIT: "#57534e"}
OTHERS = "#94a3b8"


def best(server: Mapping[str, Any]) -> tuple[float, Sequence[float]]:
    """The throughput at saturation: the largest median over the concurrencies, and all rounds of that one."""
    rounds = max(server["rates"].values(), key=statistics.median)
    return statistics.median(rounds), rounds


def table(found: Mapping[str, Any]) -> str:
    """All of a run, in Markdown."""
    lines = [
        f"`{found['command']}`, {found['date']}: {found['machine']}. Medians of {found['rounds']} rounds of "
        f"{found['seconds']:g} s; in brackets the least and the most. *generator*: the part of a core that the load "
        "generator took at the highest throughput."
    ]
    for name, model in found["models"].items():
        if "missing" in model:
            lines += ["", f"**{model['title']}** (`{name}`): {model['missing']}."]
            continue
        lines += ["", f"**{model['title']}** (`{name}`), latencies at {figure(model['rate'])} requests/s:", ""]
        lines += [row(HEADINGS), row(["---"] * 2 + ["--:"] * (len(HEADINGS) - 2))]
        limit = best(model["servers"][LIMIT])[0]
        ranked = sorted(model["servers"].items(), key=lambda item: (item[0] == LIMIT, -best(item[1])[0]))
        lines += [row(cells(server, record, limit)) for server, record in ranked]
        lines += ["", *(f"Left out: {server}: {one_line(reason)}" for server, reason in model["left_out"].items())]
    lines += ["", *(f"Not installed: {server}: {one_line(why)}" for server, why in found["not_installed"].items())]
    return "\n".join(lines).strip() + "\n"


def cells(name: str, server: Mapping[str, Any], limit: float) -> list[str]:
    """One row of the table."""
    most, rounds = best(server)
    at = [figure(statistics.median(server["rates"][c])) for c in ("1", "4", "16")]
    generator = max(server.get("generator_cpu_closed", [0.0]))
    busy = f"{generator:.2f}{' (!)' if generator > BUSY else ''}" if name != LIMIT else "-"
    return [
        f"**{name}**" if name == OURS else name,
        server["setting"],
        *at,
        spread(rounds),
        f"{most / limit:.2g}" if most < 0.1 * limit else f"{most / limit:.2f}",
        spread(server.get("p50_ms", [])),
        spread(server.get("p99_ms", [])),
        busy,
    ]


def spread(values: Sequence[float]) -> str:
    """A median with the least and the most."""
    return f"{figure(statistics.median(values))} ({figure(min(values))} to {figure(max(values))})" if values else "-"


def figure(value: float) -> str:
    """A number with three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(entries: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(entries)} |"


def one_line(text: str) -> str:
    """The end of a long reason, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "no reason given")[:300]


def draw(found: Mapping[str, Any], path: Path) -> None:
    """The picture: for each model throughput on the left, p50 and p99 on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = [model for model in found["models"].values() if "servers" in model]
    sheet, grid = pyplot.subplots(len(models), 2, figsize=(10, 2.6 * len(models)), squeeze=False, layout="constrained")
    for model, (left, right) in zip(models, grid, strict=True):
        limit = best(model["servers"][LIMIT])[0]
        ranked = sorted(model["servers"].items(), key=lambda item: best(item[1])[0])
        servers = [(name, server) for name, server in ranked if name != LIMIT]
        names = [name for name, _ in servers]
        most = [best(server)[0] for _, server in servers]
        rounds = [best(server)[1] for _, server in servers]
        errors = [
            [m - min(r) for m, r in zip(most, rounds, strict=True)],
            [max(r) - m for m, r in zip(most, rounds, strict=True)],
        ]
        colours = [COLOURS.get(name, OTHERS) for name in names]
        left.barh(names, most, xerr=errors, color=colours, error_kw={"lw": 0.8, "capsize": 2})
        left.set_title(f"{model['title']}: answers/s (in process {figure(limit)})", fontsize=10)
        if limit < 1.5 * max(most):  # else the bars would be too short to tell apart
            left.axvline(limit, color=COLOURS[LIMIT], ls="--", lw=1)
        timed = [(name, server) for name, server in ranked if server.get("p99_ms")]
        for place, (name, server) in enumerate(timed):
            middle, late = (statistics.median(server[key]) for key in ("p50_ms", "p99_ms"))
            colour = COLOURS.get(name, OTHERS)
            right.barh(place, late, color=colour, alpha=0.45)
            right.barh(place, middle, color=colour)
        right.set_yticks(range(len(timed)), [name for name, _ in timed])
        right.set_title(f"ms at {figure(model['rate'])} requests/s: p50 (dark), p99 (pale)", fontsize=10)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=9)
    sheet.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(sheet)


def write(found: Mapping[str, Any], folder: Path) -> None:
    """Table and picture into ``folder``."""
    (folder / TABLE).write_text(table(found), encoding="utf-8")
    draw(found, folder / PICTURE)


def publish(folder: Path, document: Path = DOCUMENT) -> None:
    """Put the table between the marks of the document, and the picture beside it.

    Raises:
        ValueError: the document has no such marks.
    """
    text = document.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or END not in text.split(BEGIN)[1]:
        raise ValueError(f"{document} has to have {BEGIN} once, and {END} behind it")
    before, rest = text.split(BEGIN)
    after = rest.split(END, 1)[1]
    found = (folder / TABLE).read_text(encoding="utf-8")
    document.write_text(f"{before}{BEGIN}\n\n{found}\n![bars]({PICTURE})\n\n{END}{after}", encoding="utf-8")
    shutil.copy(folder / PICTURE, document.parent / PICTURE)
