"""A table that `neurips16 score` takes, of a kind that the first byte chooses."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.harness import Harness

from neurips16.clients.protocol.errors import ClientError
from neurips16.clients.scoring.sources import Source

SUFFIXES = (".parquet", ".csv", ".jsonl")


def read(data: bytes, folder: Path) -> object:
    """As the cutting into shards does."""
    path = folder / f"table{SUFFIXES[data[0] % len(SUFFIXES) if data else 0]}"
    path.write_bytes(data[1:])
    try:
        source = Source.find(str(path))
        columns = list(source.columns())
        return [table.num_rows for table in source.batches(columns[0], columns[1:2])] if columns else []
    finally:
        path.unlink()


def seeds() -> list[bytes]:
    """One of each kind; cut off; of a column that has no name."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", None, "b"], "id": [1, 2, 3]}), buffer)
    parquet = b"\0" + buffer.getvalue()
    csv, lines = b'\1text,id\na,1\n"b\n",2\n', b'\2{"text": "a", "id": 1}\n{"text": null}\n'
    return [parquet, csv, lines, parquet[:-20], b"\1\n", b"\1a\nb,c\n", b"\2{", b"\2[]\n", b"\0", b"\1", b"\2", b""]


HARNESS = Harness(read, (ClientError,), seeds)
