"""What tests of several rooms share: where the real data are, and a small premise-selection set of our own."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("NEURIPS16_DATA", ROOT.parent / "shared/data"))


@pytest.fixture(scope="session")
def real_deepmath() -> Path:
    """The real Mizar40 data set."""
    folder = REAL_DATA / "premises/deepmath"
    if not folder.is_dir():
        pytest.skip(f"the real data set is not at {folder} (NEURIPS16_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def deepmath_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up set in the public layout: 60 statements over eight symbols, 40 of them conjectures.

    A premise is useful exactly if it speaks of the conjecture's symbol, so a model can learn it.
    """
    folder = tmp_path_factory.mktemp("deepmath")
    rng = random.Random(0)
    symbols = [f"k{i}_art" for i in range(8)]
    statements, about = [], []
    for i in range(60):
        symbol = symbols[i % 8]
        body = " & ".join(f"r{rng.randrange(3)}_art({symbol}, X{j})" for j in range(1 + i % 3))
        statements.append(f"fof(t{i}_art, axiom,  (! [X0, X1, X2] : ({body}) ) ).")
        about.append(symbol)
    (folder / "mizar40").mkdir()
    (folder / "mizar40/statements").write_text("\n".join(statements) + "\n")
    (folder / "nndata").mkdir()
    for i in range(20, 60):
        lines = [f"C {statements[i]}"]
        lines += [f"{'+' if about[j] == about[i] else '-'} {statements[j]}" for j in rng.sample(range(i), 12)]
        if not any(line[0] == "+" for line in lines):
            lines.append(f"+ {statements[i - 8]}")
        (folder / f"nndata/t{i}_art").write_text("\n".join(lines) + "\n")
    (folder / "definitions.tsv").write_text(
        "symbol\tdefinition\trule\ttype\tother\nk0_art\tt0_art\tpattern\t\t\nk9_art\t\t\t\t\n"
    )
    return folder
