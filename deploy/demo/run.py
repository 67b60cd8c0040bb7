"""The demo: serves the shipped models on a real Triton and runs every task's examples on it, as a user would."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console

from neurips16.serving import TritonServer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
from examples import example_lines, run  # noqa: E402

OUTPUT = ROOT / "build/demo"


def main() -> None:
    """Serve, then run the commands one by one; the first that fails ends the demo with its status."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    console = Console()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    console.rule("Starting Triton on serving/models")
    with TritonServer(ROOT / "serving/models", grpc_port=0, http_port=None, metrics_port=None) as server:
        console.print(f"ready at {server.url}: {', '.join(sorted(server.models))}")
        for arguments in example_lines(OUTPUT, list(server.models)):
            console.rule(f"neurips16 {shlex.join(arguments)}", align="left")
            if status := run(server.url, arguments).returncode:
                sys.exit(f"error: `neurips16 {shlex.join(arguments)}` ended with status {status}")
    console.rule("That was the demo")
    console.print(f"Pictures: {OUTPUT}. Serve the models yourself:  .venv/bin/neurips16 serve serving/models")


if __name__ == "__main__":
    main()
