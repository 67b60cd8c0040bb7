"""`make bench-peers`: the same models behind our server and behind others, asked by one load generator in one run.

    python deploy/peers/bench.py [--seconds 3] [--rounds 5] [--model rfcn] [--peer litserve] [--publish]
    python deploy/peers/bench.py --report-only --publish      # table and picture again from the last run

For each model:
1. every peer is started in each of its settings, its answer is held against ONNX Runtime in process, and the setting
   that answers most at 16 at once is kept; who answers wrongly, or not at all, is not timed, and the reason is told;
2. throughput in a closed loop with 1, 4 and 16 at once, in rounds; in each, all peers in a new order, so that what
   disturbs the machine disturbs all;
3. latency in an open loop, at a rate that is the same for all: a share of what the slowest could do.

Writes results.json, table.md and peers.png into build/peers; --publish copies table and picture into the documents.
"""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import random
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import onnxruntime
import typer
from contest import Contest
from load_generator import make_loop
from results import publish, table, write
from servers import OURS, PEERS, Peer, PeerError, install
from subjects import MLP, TITLES, shipped, tiny_mlp

BUILD = Path(__file__).parents[2] / "build/peers"


def main(
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 3.0,
    rounds: Annotated[int, typer.Option(help="How often each is measured.")] = 5,
    share: Annotated[float, typer.Option(help="Of the slowest server's throughput: the rate for the latencies.")] = 0.5,
    requests: Annotated[int, typer.Option(help="At least so many requests behind each latency.")] = 100,
    model: Annotated[list[str] | None, typer.Option(help=f"Only this one of {', '.join(TITLES)}; repeatable.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="Only this peer beside ours; repeatable.")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Measure nothing; report the last run.")] = False,
    publish_it: Annotated[bool, typer.Option("--publish", help="Put table and picture into the documents.")] = False,
) -> None:
    """Measure, and report."""
    if not report_only:
        peers = [p for p in PEERS if not peer or p is OURS or p.key in peer]
        unknown = {*(peer or [])} - {p.key for p in PEERS} | {*(model or [])} - set(TITLES)
        if unknown:
            raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}")
        found = measure(peers, model or list(TITLES), seconds, rounds, share, requests)
        if not any("servers" in each for each in found["models"].values()):
            typer.echo("error: nothing was measured: no such model is in serving/models", err=True)
            raise typer.Exit(1)
        BUILD.mkdir(parents=True, exist_ok=True)
        (BUILD / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found = json.loads((BUILD / "results.json").read_text(encoding="utf-8"))
    write(found, BUILD)
    typer.echo(table(found))
    if publish_it:
        publish(BUILD)


def measure(
    peers: list[Peer], models: list[str], seconds: float, rounds: int, share: float, requests: int
) -> dict[str, Any]:
    """The whole run, as results.json has it."""
    threads = len(os.sched_getaffinity(0))
    pythons, left_out = {}, {}
    for peer in peers:
        typer.echo(f"{peer.name}: installing", err=True)
        try:
            pythons[peer] = install(peer, BUILD / "env")
        except PeerError as error:
            left_out[peer.name] = str(error)
    found: dict[str, Any] = {
        "command": shlex.join(["python", "deploy/peers/bench.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {threads} cores, Python {platform.python_version()}, "
        f"ONNX Runtime {onnxruntime.__version__} on {threads} threads",
        "seconds": seconds,
        "rounds": rounds,
        "share": share,
        "not_installed": left_out,
        "models": {},
    }
    loop = make_loop()
    gc.collect()
    gc.freeze()  # what is loaded by now is not walked through again in the middle of a measurement
    with tempfile.TemporaryDirectory(prefix="neurips16-peers-") as folder:
        for name in models:
            subject = tiny_mlp(Path(folder), threads) if name == MLP else shipped(name, threads)
            if subject is None:
                typer.echo(f"{name}: it is not in serving/models, so it is left out", err=True)
                found["models"][name] = {"title": TITLES[name], "missing": "not in serving/models"}
                continue
            order = random.Random(0)  # nosec B311: of the servers' turns
            contest = Contest(subject, loop, order, lambda text: typer.echo(text, err=True))
            found["models"][name] = contest.run(pythons, seconds, rounds, share, requests)
    loop.close()
    return found


if __name__ == "__main__":
    typer.run(main)
