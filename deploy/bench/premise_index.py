"""How long it takes to rank one conjecture against an index of premises on this machine.

    python deploy/bench/premise_index.py [--premises 100000] [--sizes 256,512,1024] [--repeats 20]

The premises are drawn at random: the time does not depend on what they say. The index lies in a temporary folder, and
its files are in memory once it has been ranked from (as they are in use); the scores are held against the pairwise
formula in double precision.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from neurips16.clients.tables import print_table
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex, best
from neurips16.clients.tasks.rank_premises.statements import parse_all
from neurips16.clients.tasks.rank_premises.words import word_hashes

CHUNK = 10_000
SYMBOLS = 11  # of a statement, as in Mizar


def main(
    premises: Annotated[int, typer.Option(help="How many.")] = 100_000,
    sizes: Annotated[str, typer.Option(help="Sizes of an embedding.")] = "257,512",
    repeats: Annotated[int, typer.Option(help="Rankings for each size.")] = 20,
    top_k: Annotated[int, typer.Option(help="Premises wanted.")] = 256,
) -> None:
    """Measure, and print a table."""
    rows = []
    for size in map(int, sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="neurips16-bench-") as folder:
            rows.append(_measure(Path(folder) / "index", premises, size, repeats, top_k))
    headings = ("embedding", "open ms", "median ms", "fastest ms", "slowest ms", "CPU ms", "greatest difference")
    print_table(dict.fromkeys(headings, "right"), rows)


def _measure(path: Path, premises: int, size: int, repeats: int, top_k: int) -> tuple[str, ...]:
    draw = np.random.default_rng(size)
    index = PremiseIndex.create(path, build="bench", max_length=2048, embedding_size=size)
    conjecture = draw.standard_normal(size, dtype=np.float32)
    expected = []
    for start in range(0, premises, CHUNK):
        count = min(CHUNK, premises - start)
        embeddings = draw.standard_normal((count, size), dtype=np.float32)
        symbols = draw.zipf(1.3, (count, SYMBOLS)) % 10_000
        statements = parse_all(" & ".join(f"p{symbol}" for symbol in row) for row in symbols)
        index = index.extend(statements, embeddings)
        expected.append(embeddings.astype(np.float64) @ conjecture)
    started = time.perf_counter()
    index = PremiseIndex.open(path)
    open_s = time.perf_counter() - started
    words = word_hashes("p1 & p2 & p77 & p4321")
    difference = np.abs(index.scores(conjecture, words, "network") - np.concatenate(expected)).max()
    index.scores(conjecture, words)  # the first ranking counts the symbols
    times_s = []
    cpu_started = time.process_time()
    for _ in range(repeats):
        started = time.perf_counter()
        best(index.scores(conjecture, words), top_k)
        times_s.append(time.perf_counter() - started)
    cpu_s = (time.process_time() - cpu_started) / repeats  # what it takes where nothing else runs
    figures = (open_s, statistics.median(times_s), min(times_s), max(times_s), cpu_s)
    return (str(size), *(f"{figure * 1e3:.1f}" for figure in figures), f"{difference:.1e}")


if __name__ == "__main__":
    typer.run(main)
