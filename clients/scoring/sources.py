"""The rows of an input: files of a folder or a glob, or a column of tables; local, or wherever Daft reads.

The rows have one order, that of the sorted names of the files and of the rows in them, so that a shard is the same
rows whenever the input is cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")  # else Daft reports its use to its makers, from its import on
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # it would stand beside ours
import daft

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.scoring.output import ScoreOutput

KEY, VALUE = "key", "value"  # the first columns of a shard; what was to be kept follows
_TABLES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_WILDCARDS = frozenset("*?[")
_LOCAL = "file://"
_ROWS_AT_A_TIME = 8  # of a shard's file that are in memory at a time, since they may be the bytes of images
_ROWS_READ_AT_A_TIME = 1024  # of a table
_READ_ERRORS = (ValueError, OSError)  # of Daft and Arrow, for a file that they cannot read; theirs derive from these


@dataclass(frozen=True)
class Source:
    """An input that has been looked at, but not read."""

    given: str
    kind: Literal["files", "parquet", "csv", "jsonl"]
    base: str  # the folder that names and paths are relative to
    paths: tuple[str, ...]  # sorted; absolute, or URLs
    fingerprint: str  # of the files' names, sizes and times

    @classmethod
    def find(cls, given: str) -> Source:
        """List an input.

        Args:
            given: a folder (all files in it and below, but hidden ones), a file, or a pattern with * ? [] and **;
                a path or a URL. Tables are told by their suffix: .parquet, .csv, .jsonl, .ndjson.

        Raises:
            InvalidInputError: nothing is there, or tables and other files are mixed.
        """
        is_pattern = bool(_WILDCARDS & set(given))
        remote = "://" in given
        root = given.rstrip("/") if remote else os.path.abspath(given)
        is_folder = not is_pattern and (not PurePosixPath(root).suffix if remote else os.path.isdir(root))
        base = _fixed_part(root) if is_pattern else root if is_folder else root.rpartition("/")[0]
        found = sorted(_list(f"{root}/**" if is_folder else root, given))
        found = [(path, size) for path, size in found if not _hidden(path, base)]
        if not found:
            raise InvalidInputError(f"the input {given} is empty: no file is there")
        kinds = {_TABLES.get(PurePosixPath(path).suffix.lower(), "files") for path, _ in found}
        if len(kinds) > 1:
            raise InvalidInputError(
                f"the input {given} mixes {' and '.join(sorted(kinds))}: name one kind with a pattern such as "
                f"'{given.rstrip('/')}/*.parquet'"
            )
        facts = [f"{_relative(path, base)}\0{size}\0{_changed(path)}" for path, size in found]
        digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
        return cls(given, kinds.pop(), base, tuple(path for path, _ in found), digest)  # type: ignore[arg-type]

    def columns(self) -> dict[str, pa.DataType]:
        """The columns of a table, as its first file has them; none for plain files."""
        if self.kind == "files":
            return {}
        with self._explained(self.paths[0]):
            if self.kind == "parquet":
                with _parquet(self.paths[0]) as file:
                    schema = file.schema_arrow
            else:
                schema = self._frame(self.paths[0], None).schema().to_pyarrow_schema()
        return dict(zip(schema.names, schema.types, strict=True))

    def batches(self, column: str | None, keep: Sequence[str]) -> Iterator[pa.Table]:
        """The rows, some at a time: a key, the value, and the columns to keep.

        Raises:
            InvalidInputError: a file cannot be read as what it is named.
        """
        if self.kind == "files" or column is None:
            for start in range(0, len(self.paths), _ROWS_READ_AT_A_TIME):
                paths = self.paths[start : start + _ROWS_READ_AT_A_TIME]
                yield pa.table({KEY: [_relative(path, self.base) for path in paths], VALUE: list(paths)})
            return
        types = self.columns()
        if self.kind == "csv":
            types[column] = pa.large_string()  # a column of numbers is texts as well
        wanted = {name: types[name] for name in (column, *keep)}
        schema = pa.schema([(VALUE, types[column]), *((f"kept {name}", types[name]) for name in keep)])
        for path in self.paths:
            row = 0
            for batch in self._read(path, wanted):
                columns = [batch.column(name) for name in (column, *keep)]
                table = pa.table(columns, names=schema.names).cast(schema)
                keys = [f"{_relative(path, self.base)}:{row + i}" for i in range(len(table))]
                yield table.add_column(0, KEY, [keys]).rename_columns([KEY, VALUE, *keep])
                row += len(table)

    def _read(self, path: str, wanted: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with self._explained(path):
            if self.kind == "parquet":  # Daft would hold several row groups at a time, which may be images
                with _parquet(path) as file:
                    yield from file.iter_batches(_ROWS_AT_A_TIME, columns=list(wanted), use_threads=False)
                return
            types = {name: daft.DataType.from_arrow_type(dtype) for name, dtype in wanted.items()}
            yield from self._frame(path, types).select(*wanted).to_arrow_iter(results_buffer_size=1)

    def _frame(self, path: str, types: dict[str, Any] | None) -> Any:
        return (daft.read_csv if self.kind == "csv" else daft.read_json)(path, schema=types)

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise InvalidInputError(f"{path} cannot be read as {self.kind}: {_first_line(error)}") from error


class _File(io.RawIOBase):
    """A file of Daft's, as Arrow wants one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file, wherever Daft reads."""
    with daft.File(path).open() as opened, pq.ParquetFile(_File(opened)) as file:
        yield file


def cut_into_shards(
    source: Source, column: str | None, keep: Sequence[str], output: ScoreOutput, *, shard_rows: int
) -> dict[str, int]:
    """Copy the rows into files of ``shard_rows`` rows each, for the workers; returns how many ``rows`` and ``shards``.

    A file is written for shards that are done as well: which rows they are is known only by reading on.
    """
    rows = shards = 0
    rest: Iterator[pa.Table] = source.batches(column, keep)
    table = next(rest, None)
    while table is not None and len(table):
        wanted = shard_rows

        def write(aside: Path) -> None:
            nonlocal table, wanted, rows
            assert table is not None
            # Only the workers read it, once: what makes a file small or quick to search is left out.
            plain = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
            with pq.ParquetWriter(aside, table.schema, **plain) as writer:
                while table is not None and wanted:
                    part, table = table.slice(0, wanted), table.slice(wanted)
                    writer.write_table(part, row_group_size=_ROWS_AT_A_TIME)
                    wanted, rows = wanted - len(part), rows + len(part)
                    if not len(table):
                        table = next((t for t in rest if len(t)), None)

        output.publish(output.shard(shards), write)
        shards += 1
    pa.default_memory_pool().release_unused()  # what was read is not needed again in this process
    return {"rows": rows, "shards": shards}


def read_shard(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, a few at a time."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=_ROWS_AT_A_TIME, use_threads=False)


def _list(pattern: str, given: str) -> Iterator[tuple[str, int]]:
    try:
        for row in daft.from_glob_path(pattern).iter_rows():
            yield row["path"].removeprefix(_LOCAL), row["size"]
    except FileNotFoundError as error:
        raise InvalidInputError(f"the input {given} does not exist") from error
    except _READ_ERRORS as error:
        raise InvalidInputError(f"the input {given} cannot be listed: {_first_line(error)}") from error


def _fixed_part(pattern: str) -> str:
    """The folder above the first wildcard."""
    first = min(place for place, character in enumerate(pattern) if character in _WILDCARDS)
    return pattern[:first].rpartition("/")[0]


def _relative(path: str, base: str) -> str:
    return path.removeprefix(base).lstrip("/")


def _hidden(path: str, base: str) -> bool:
    return any(part.startswith(".") for part in _relative(path, base).split("/"))


def _changed(path: str) -> int:
    """When a local file was last changed; object storage tells sizes only."""
    return 0 if "://" in path else os.stat(path).st_mtime_ns


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
