"""The rows of an input: files of a folder or a glob, or a column of tables; local, or wherever Daft reads.

The rows have one order, that of the sorted names of the files and of the rows in them, so that a shard is the same
rows whenever the input is cut.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")  # else Daft reports its use to its makers, from its import on
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # it would stand beside ours
os.environ.setdefault("DAFT_SHOW_QUERY_ID", "0")  # on a terminal, it would print one for itself

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.scoring.output import ScoreOutput
from neurips16.clients.scoring.tables import (
    ROWS_AT_A_TIME,
    Kind,
    column_names,
    column_types,
    is_binary,
    is_text,
    read_table,
)

KEY, VALUE = "key", "value"  # the first columns of a shard; what was to be kept follows
_TABLES: dict[str, Kind] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_WILDCARDS = frozenset("*?[")
_NAMES_AT_A_TIME = 1024


@dataclass(frozen=True)
class Source:
    """An input that has been looked at, but not read."""

    given: str
    kind: Literal["files", "parquet", "csv", "jsonl"]
    base: str  # the folder that names and paths are relative to
    paths: tuple[str, ...]  # sorted; absolute, or URLs
    fingerprint: str  # of the files' names, sizes and times

    @classmethod
    def find(cls, given: str, *, but: Path | None = None) -> Source:
        """List an input.

        Args:
            given: a folder (all files in it and below, but hidden ones), a file, or a pattern with * ? [] and **;
                a path or a URL. What is there by that very name is no pattern. Tables are told by their suffix:
                .parquet, .csv, .jsonl, .ndjson.
            but: a folder whose files are none of the input.

        Raises:
            InvalidInputError: nothing is there, it cannot be listed, or tables and other files are mixed.
        """
        remote = "://" in given
        root = given.rstrip("/") if remote else os.path.abspath(given)
        is_pattern = bool(_WILDCARDS & set(given)) and (remote or not os.path.lexists(root))
        is_folder = not is_pattern and (not PurePosixPath(root).suffix if remote else os.path.isdir(root))
        base = _fixed_part(root) if is_pattern else root if is_folder else root.rpartition("/")[0]
        listed = _list_remote(f"{root}/**" if is_folder else root, given) if remote else _list(root, is_folder, given)
        found = sorted(
            file for file in listed if not _hidden(file[0], base) and (but is None or not _is_in(file[0], but))
        )
        if not found:
            raise InvalidInputError(f"the input {given} is empty: no file is there")
        kinds: set[Literal["files"] | Kind] = {
            _TABLES.get(PurePosixPath(path).suffix.lower(), "files") for path, _, _ in found
        }
        if len(kinds) > 1:
            raise InvalidInputError(
                f"the input {given} mixes {' and '.join(sorted(kinds))}: name one kind with a pattern such as "
                f"'{given.rstrip('/')}/*.parquet'"
            )
        facts = [f"{_relative(path, base)}\0{size}\0{changed}" for path, size, changed in found]
        digest = hashlib.sha256(os.fsencode("\n".join(facts))).hexdigest()[:16]
        return cls(given, kinds.pop(), base, tuple(path for path, _, _ in found), digest)

    def columns(self) -> list[str]:
        """The names of the columns of a table; none for plain files.

        Raises:
            InvalidInputError: a file cannot be read as what it is named.
        """
        return [] if self.kind == "files" else column_names(self.kind, self.paths)

    def types(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        """The types of some columns of a table.

        Raises:
            InvalidInputError: a file cannot be read, lacks a column, or no type holds what stands in one.
        """
        return {} if self.kind == "files" else column_types(self.kind, self.paths, names)

    def batches(self, column: str | None, keep: Sequence[str]) -> Iterator[pa.Table]:
        """The rows, some at a time: a key, the value, and the columns to keep.

        The value is a text, or bytes; of plain files it is the bytes of their paths, which need not be UTF-8.

        Raises:
            InvalidInputError: a file cannot be read as what it is named.
        """
        if self.kind == "files" or column is None:
            for start in range(0, len(self.paths), _NAMES_AT_A_TIME):
                paths = self.paths[start : start + _NAMES_AT_A_TIME]
                keys = pa.array([_key(path, self.base) for path in paths], pa.string())
                yield pa.table({KEY: keys, VALUE: pa.array(map(os.fsencode, paths), pa.binary())})
            return
        names = list(dict.fromkeys((column, *keep)))
        types = self.types(names)
        values = pa.large_binary() if is_binary(types[column]) else pa.large_string()
        for path in self.paths:
            row = 0
            for arrays in read_table(self.kind, path, types):
                read = dict(zip(names, arrays, strict=True))
                keys = pa.array([f"{_key(path, self.base)}:{row + i}" for i in range(len(arrays[0]))], pa.string())
                yield pa.table(
                    [keys, _values(read[column]).cast(values), *(read[name] for name in keep)],
                    names=[KEY, VALUE, *keep],
                )
                row += len(keys)


def _values(array: pa.Array) -> pa.Array:
    """What is to be scored, of a column of texts or bytes in whichever layout."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return array if is_text(array.type) or is_binary(array.type) else array.cast(pa.large_string())


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
                    writer.write_table(part, row_group_size=ROWS_AT_A_TIME)
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
        yield from file.iter_batches(batch_size=ROWS_AT_A_TIME, use_threads=False)


def _list(root: str, is_folder: bool, given: str) -> Iterator[tuple[str, int, int]]:
    """The files of this machine, their sizes, and when they were changed; a dangling link is one that fails later."""
    paths: Iterator[str]
    if is_folder:
        paths = (os.path.join(place, name) for place, _, names in os.walk(root, onerror=_refuse) for name in names)
    elif os.path.lexists(root):
        paths = iter([root])
    else:
        paths = glob.iglob(root, recursive=True)
    try:
        for path in paths:
            try:
                facts = os.stat(path)
            except FileNotFoundError:
                yield path, -1, 0
                continue
            if stat.S_ISREG(facts.st_mode):
                yield path, facts.st_size, facts.st_mtime_ns
    except OSError as error:
        raise InvalidInputError(f"the input {given} cannot be listed: {error}") from error


def _refuse(error: OSError) -> None:
    raise error


def _list_remote(pattern: str, given: str) -> Iterator[tuple[str, int, int]]:
    """The files of object storage, which tells sizes only."""
    from daft.daft import io_glob  # in one call: an iteration of Daft's that is broken off looks like one at its end

    try:
        for file in io_glob(pattern):
            if file["type"] == "File":
                yield file["path"], file["size"] or 0, 0
    except FileNotFoundError as error:
        raise InvalidInputError(f"the input {given} does not exist") from error
    except (ValueError, OSError) as error:
        raise InvalidInputError(f"the input {given} cannot be listed: {str(error).strip().splitlines()[0]}") from error


def _fixed_part(pattern: str) -> str:
    """The folder above the first wildcard."""
    first = min(place for place, character in enumerate(pattern) if character in _WILDCARDS)
    return pattern[:first].rpartition("/")[0]


def _relative(path: str, base: str) -> str:
    return path.removeprefix(base).lstrip("/")


def _hidden(path: str, base: str) -> bool:
    return any(part.startswith(".") for part in _relative(path, base).split("/"))


def _is_in(path: str, folder: Path) -> bool:
    return "://" not in path and Path(path).is_relative_to(folder)


def _key(path: str, base: str) -> str:
    """A file's name below the folder; what of it is not UTF-8 is escaped."""
    return os.fsencode(_relative(path, base)).decode("utf-8", "backslashreplace")
