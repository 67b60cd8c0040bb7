"""The manifest of an index of premises, whose other files are good."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from fuzz.harness import Harness

from neurips16.clients.protocol.errors import ClientError
from neurips16.clients.tasks.rank_premises.premise_index import MANIFEST, PremiseIndex
from neurips16.clients.tasks.rank_premises.statements import parse_all

STATEMENTS = ("fof(a, axiom, p).", "fof(b, axiom, q).")


def _make(folder: Path) -> Path:
    path = folder / "library.index"
    if not path.exists():
        index = PremiseIndex.create(path, build="b", max_length=8, embedding_size=2)
        index.extend(parse_all(STATEMENTS), np.zeros((2, 2), np.float32))
        shutil.copy(path / MANIFEST, folder / MANIFEST)
    return path


def read(data: bytes, folder: Path) -> object:
    """As `neurips16 prove --index` does."""
    path = _make(folder)
    (path / MANIFEST).write_bytes(data or (folder / MANIFEST).read_bytes())
    index = PremiseIndex.open(path)
    return [index.text(place) for place in range(len(index))], index.scores(np.ones(2, np.float32), np.array([3]))


def seeds() -> list[bytes]:
    """Nothing stands for the good one; fields of other kinds; names that lead elsewhere."""
    text = '{"format": 2, "build": "b", "embedding_size": 2, "max_length": 8, "unit": "words", "proofs": "", '
    text += '"truncated": [], "segments": [{"name": "%s", "count": 2}]}'
    broken = [b"{}", b'{"format": 2}', b"[" * 9000]
    return [b"", *((text % name).encode() for name in ("000000", "../x", "a\\u0000")), *broken]


HARNESS = Harness(read, (ClientError,), seeds)
