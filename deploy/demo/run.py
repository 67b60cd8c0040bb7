"""The demo: serves the shipped models on a real Triton, runs every task's examples, then real data where it is."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
from demo.real_data import real_data_lines  # noqa: E402
from examples import example_lines, run  # noqa: E402

OUTPUT = ROOT / "build/demo"
console = Console()


def main() -> None:
    """Serve, then run the commands one by one; the first that fails ends the demo with its status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the real data sets")
    data = parser.parse_args().data
    OUTPUT.mkdir(parents=True, exist_ok=True)
    console.rule("Starting Triton on serving/models")
    with TritonServer(ROOT / "serving/models", grpc_port=0, http_port=None, metrics_port=None) as server:
        loaded = sorted(server.models)
        console.print(f"ready at {server.url}: {', '.join(loaded)}")
        for arguments in example_lines(OUTPUT, loaded):
            show(server.url, arguments)
        if not data.is_dir():
            console.print(f"[dim]{data} is not there: the tasks' own examples were all[/dim]")
        for remark, arguments in real_data_lines(data, OUTPUT, loaded):
            console.print(f"[dim]{remark}[/dim]")
            show(server.url, arguments)
    console.rule("That was the demo")
    console.print(f"Pictures: {OUTPUT}. Serve the models yourself:  .venv/bin/neurips16 serve serving/models")


def show(url: str, arguments: Sequence[str]) -> None:
    """Run one `neurips16` command against the server, showing it as a user would type it."""
    console.rule(f"neurips16 {shlex.join(arguments)}", align="left")
    if status := run(url, arguments).returncode:
        sys.exit(f"error: `neurips16 {shlex.join(arguments)}` ended with status {status}")


if __name__ == "__main__":
    main()
