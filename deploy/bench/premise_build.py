"""How fast an index of premises is built: through a server, and in process.

    python deploy/bench/premise_build.py [--statements 20000]

Statements are of our own, of the length of Mizar's (30 to 90 words), and all differ. Beside the rate by the clock
stands that by the processor's time, which a busy machine does not spoil: of this process, and of the server.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import psutil
import typer

from neurips16.clients import Client
from neurips16.clients.in_process import LocalClient
from neurips16.clients.tables import print_table
from neurips16.clients.tasks.rank_premises.calls import IndexGrowth, grow_index
from neurips16.serving import TritonServer

MODELS = Path(__file__).parents[2] / "serving/models"


def main(statements: Annotated[int, typer.Option(help="How many.")] = 20_000) -> None:
    """Measure, and print a table."""
    lines = _statements(statements)
    rows = []
    with TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server, Client(server.url) as client:
        rows.append(("server", *_rates(lambda at, some: client.run(grow_index(at, some)), lines)))
    local = LocalClient(MODELS)
    rows.append(("in process", *_rates(lambda at, some: local.run(grow_index(at, some)), lines)))
    print_table({"how": "left", "statements/s": "right", "per CPU second": "right"}, rows)


def _rates(build: Callable[[Path, list[str]], IndexGrowth], lines: list[str]) -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="neurips16-bench-") as folder:
        build(Path(folder) / "warm", lines[:200])  # the first requests pay for threads and memory
        cpu_s, started = _cpu_s(), time.perf_counter()
        grown = build(Path(folder) / "index", lines)
        wall_s, cpu_s = time.perf_counter() - started, _cpu_s() - cpu_s
    assert len(grown.index) == len(lines)
    return f"{len(lines) / wall_s:.0f}", f"{len(lines) / cpu_s:.0f}"


def _cpu_s() -> float:
    """The processor's time of this process and of those that it started."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (own, *own.children(recursive=True)))


def _statements(count: int) -> list[str]:
    draw = random.Random(0)  # nosec B311: of made statements
    found = []
    for number in range(count):
        atoms = (
            f"r{draw.randrange(300)}_art{draw.randrange(80)}(A, k{draw.randrange(900)}_art(B, C))"
            for _ in range(draw.randrange(6, 18))
        )
        found.append(f"fof(t{number}_bench, axiom, (! [A, B, C] : ({' & '.join(atoms)})))).".replace("))))", ")))"))
    return found


if __name__ == "__main__":
    typer.run(main)
