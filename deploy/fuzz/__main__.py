"""`make fuzz`: bytes that nobody should send, to everything that reads bytes of others; status 1 when a reader fails.

    PYTHONPATH=deploy python -m fuzz [--seconds 60] [--reader NAME ...] [--output build/fuzz]

The time is that of all readers together. A reader fails when it raises an error of another package, crashes, takes
more than 2 GB or 20 seconds for one input of 64 kB at most. The input is then a file in OUTPUT/NAME; read it again by

    PYTHONPATH=deploy python -m fuzz --again OUTPUT/NAME/crash-...
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from fuzz.harness import fault, load, names

ROOT = Path(__file__).parents[2]
MAX_BYTES = 1 << 16
MEMORY_MB = 2048
SLOWEST_S = 20
LEAST_S = 3  # for one reader: the imports take as long
STARTING_S = 120  # for imports and seeds on a busy machine


@dataclass(frozen=True)
class Outcome:
    """How one reader fared."""

    reader: str
    runs: int
    failure: str  # what it did, and with which input; empty where it held


def run(reader: str, seconds: int, output: Path) -> Outcome:
    """Fuzz one reader in a process of its own."""
    folder = output / reader
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        "max_len": MAX_BYTES,
        "rss_limit_mb": MEMORY_MB,
        "timeout": SLOWEST_S,
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "fuzz.worker", reader, str(folder / "corpus")]
    command += [f"-{name}={value}" for name, value in options.items()] + [f"-artifact_prefix={folder}/"]
    # By a shell that stays its parent: Linux counts the peak memory of who starts a program as the program's own, and
    # libFuzzer would take that of a large process, such as one that runs tests, for the reader's.
    command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    before = set(folder.glob("*-*"))
    with (folder / "log").open("w+") as log:
        try:
            status = subprocess.run(
                command, stdout=log, stderr=log, env=environment, cwd=folder, timeout=seconds + SLOWEST_S + STARTING_S
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
        log.seek(0)
        text = log.read()
    counted = re.findall(r"number_of_executed_units: (\d+)", text) or re.findall(r"^#(\d+)", text, re.M)
    inputs = sorted(str(path) for path in set(folder.glob("*-*")) - before)
    if status == 0 and not inputs and counted:
        return Outcome(reader, int(counted[-1]), "")
    raised = re.findall(r"^ === Uncaught Python exception: ===\n(.*)$", text, re.M)
    said = (raised or re.findall(r"ERROR: (.*)$", text, re.M) or [f"status {status}"])[0]
    return Outcome(reader, int(counted[-1]) if counted else 0, f"{said[:300]}; {' '.join(inputs) or f'{folder}/log'}")


def fuzz(seconds: int, output: Path, chosen: Sequence[str] = ()) -> Iterator[Outcome]:
    """Fuzz one reader after the other; one that fails does not stop the next.

    Args:
        seconds: for all of them together.
        output: folder of corpora, logs and inputs that failed.
        chosen: all, unless named.
    """
    chosen = chosen or names()
    for name in chosen:
        yield run(name, max(LEAST_S, seconds // len(chosen)), output.resolve())


def main(
    seconds: Annotated[int, typer.Option(min=1, help="For all readers together; each has at least three.")] = 60,
    reader: Annotated[list[str] | None, typer.Option(help="Only this one. May be repeated.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of corpora, logs and inputs that failed.")] = ROOT / "build/fuzz",
    again: Annotated[Path | None, typer.Option(help="Read an input of OUTPUT/NAME, and show what happens.")] = None,
) -> None:
    """Fuzz, or read one input again."""
    if again is not None:
        raise typer.Exit(1 if _show(again) else 0)
    chosen = reader or names()
    if unknown := sorted(set(chosen) - set(names())):
        raise typer.BadParameter(f"no reader is called {', '.join(unknown)}; there are: {', '.join(names())}")
    failed = False
    for outcome in fuzz(seconds, output, chosen):
        name = outcome.reader
        typer.echo(f"{name}: {outcome.runs:,} inputs")
        if outcome.failure:
            failed = True
            typer.echo(f"FAILED {name}: {outcome.failure}", err=True)
    raise typer.Exit(1 if failed else 0)


def _show(path: Path) -> bool:
    with tempfile.TemporaryDirectory(prefix="neurips16-fuzz-") as scratch:
        error = fault(load(path.resolve().parent.name), path.read_bytes(), Path(scratch))
    if error is not None:
        traceback.print_exception(error)
    return error is not None


if __name__ == "__main__":
    typer.run(main)
