"""Tables as they were written: CSV, JSON Lines and Parquet, read a few rows at a time.

What a table holds is somebody's data, and comes out as it went in: the text of a CSV's field, a value of JSON, or the
exact type of a column of Parquet. What cannot stand in one column without being changed is an error.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO, Literal, NoReturn, cast

import pyarrow as pa
import pyarrow.parquet as pq

from neurips16.clients.protocol.errors import InvalidInputError

Kind = Literal["parquet", "csv", "jsonl"]

ROWS_AT_A_TIME = 8  # of Parquet that are in memory at a time, since they may be the bytes of images
_LINES_AT_A_TIME = 1024
_MAX_FIELD_CHARACTERS = 64 << 20
_INT64 = range(-(1 << 63), 1 << 63)
_UNREADABLE = (pa.ArrowException, ValueError, OSError, csv.Error, RecursionError)


def column_names(kind: Kind, paths: Sequence[str]) -> list[str]:
    """The columns: of JSON Lines those that any row has, else those of the first file.

    Raises:
        InvalidInputError: a file cannot be read as what it is named.
    """
    with _explained(paths[0], kind):
        if kind == "parquet":
            with _parquet(paths[0]) as file:
                return _distinct(file.schema_arrow.names, paths[0])
        if kind == "csv":
            with _csv(paths[0]) as (names, _):
                return names
    return list(dict.fromkeys(name for path in paths for _, row in _json_rows(path) for name in row))


def column_types(kind: Kind, paths: Sequence[str], names: Sequence[str]) -> dict[str, pa.DataType]:
    """The type of each column in all files; that of CSV is text.

    Raises:
        InvalidInputError: a file lacks a column, or no type holds what stands in it.
    """
    if kind == "csv":
        return dict.fromkeys(names, pa.large_string())
    if kind == "jsonl":
        return _json_types(paths, names)
    types = dict.fromkeys(names, pa.null())
    for path in paths:
        with _explained(path, kind), _parquet(path) as file:
            schema = file.schema_arrow
        for name, dtype in types.items():
            if pa.types.is_null(dtype):
                types[name] = _without_views(schema.field(_place(schema.names, name, path)).type)
        if not any(map(pa.types.is_null, types.values())):
            break
    return types


def read_table(kind: Kind, path: str, types: dict[str, pa.DataType]) -> Iterator[list[pa.Array]]:
    """The columns that are named, some rows at a time, of exactly these types.

    Raises:
        InvalidInputError: the file cannot be read as what it is named, lacks a column, or holds values that the type
            of a column cannot hold as they are.
    """
    reader = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_json}[kind]
    with _explained(path, kind):
        yield from reader(path, types)


def is_text(dtype: pa.DataType) -> bool:
    """Whether a column holds texts, in whichever of Arrow's layouts."""
    plain = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    return pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain)


def is_binary(dtype: pa.DataType) -> bool:
    """Whether a column holds bytes, in whichever of Arrow's layouts."""
    plain = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    return (
        pa.types.is_binary(plain)
        or pa.types.is_large_binary(plain)
        or pa.types.is_binary_view(plain)
        or pa.types.is_fixed_size_binary(plain)
    )


def _read_csv(path: str, types: dict[str, pa.DataType]) -> Iterator[list[pa.Array]]:
    with _csv(path) as (names, rows):
        places = [_place(names, name, path) for name in types]
        while part := list(itertools.islice(rows, _LINES_AT_A_TIME)):
            yield [pa.array([row[place] for row in part], pa.large_string()) for place in places]


@contextlib.contextmanager
def _csv(path: str) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The names of the columns, and the rows; a file without a line has neither."""
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    with _opened(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        lines = csv.reader(text, strict=True)
        filled = (row for row in lines if row)
        names = _distinct(next(filled, []), path)

        def rows() -> Iterator[list[str]]:
            for row in filled:
                if len(row) != len(names):
                    raise InvalidInputError(
                        f"{path}, line {lines.line_num}: {len(row)} fields, but the first line names {len(names)} "
                        f"columns"
                    )
                yield row

        yield names, rows()


def _json_rows(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file and the numbers of their lines; blank lines are none."""
    with _explained(path, "jsonl"), _opened(path) as file:
        for number, data in enumerate(file, start=1):
            try:
                line = data.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if not line:
                    continue
                row = json.loads(line, parse_float=Decimal, parse_constant=_no_number)
            except (ValueError, RecursionError, InvalidOperation) as error:
                raise InvalidInputError(f"{path}, line {number}: not one value of JSON: {error}") from error
            if not isinstance(row, dict):
                raise InvalidInputError(
                    f'{path}, line {number}: each line is an object such as {{"text": …}}, got {line[:40]!r}'
                )
            yield number, row


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _json_columns(path: str, names: Iterable[str]) -> Iterator[dict[str, list[Any]]]:
    rows = _json_rows(path)
    names = list(names)
    while part := list(itertools.islice(rows, _LINES_AT_A_TIME)):
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for number, row in part:
            for name, values in columns.items():
                try:
                    values.append(_plain(row.get(name)))
                except ValueError as error:
                    raise InvalidInputError(f"{path}, line {number}, column {name!r}: {error}") from error
        yield columns


def _plain(value: Any) -> Any:
    """A value of JSON as Arrow takes it: a number with a fraction as a double, if that is the number."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        double = float(value)
        if Decimal(repr(double)) != value:
            raise ValueError(f"{value} has more digits than a double holds: write it as a text, in quotes")
        return double
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return Decimal(value)
    return value


def _json_types(paths: Sequence[str], names: Sequence[str]) -> dict[str, pa.DataType]:
    types = dict.fromkeys(names, pa.null())
    for path in paths:
        for columns in _json_columns(path, names):
            for name, values in columns.items():
                try:
                    pair = [pa.schema([("x", types[name])]), pa.schema([("x", pa.infer_type(values))])]
                    types[name] = pa.unify_schemas(pair, promote_options="permissive").field(0).type
                except pa.ArrowException as error:
                    raise _mixed(path, name, types[name]) from error
    return types


def _read_json(path: str, types: dict[str, pa.DataType]) -> Iterator[list[pa.Array]]:
    for columns in _json_columns(path, types):
        arrays = []
        for name, values in columns.items():
            try:
                array = pa.array(values, types[name])
            except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
                raise _mixed(path, name, types[name]) from error
            if not _same(array.to_pylist(), values):
                raise _mixed(path, name, types[name])
            arrays.append(array)
        yield arrays


def _same(held: Any, given: Any) -> bool:
    """Whether Arrow holds what it was given; a field that an object lacks is null."""
    if isinstance(given, dict):
        return isinstance(held, dict) and all(_same(held[name], given.get(name)) for name in held.keys() | given.keys())
    if isinstance(given, list):
        return isinstance(held, list) and len(held) == len(given) and all(map(_same, held, given))
    return held == given and isinstance(held, bool) == isinstance(given, bool)


def _mixed(path: str, name: str, dtype: pa.DataType) -> InvalidInputError:
    return InvalidInputError(
        f"{path}: the column {name!r} holds values of several kinds, which cannot stand in one column as they are "
        f"(other rows and files make it {dtype}): write all of them as texts"
    )


def _read_parquet(path: str, types: dict[str, pa.DataType]) -> Iterator[list[pa.Array]]:
    with _parquet(path) as file:  # Daft would hold several row groups at a time, which may be images
        names = file.schema_arrow.names
        for name in types:
            _place(names, name, path)
        for batch in file.iter_batches(ROWS_AT_A_TIME, columns=list(types), use_threads=False):
            yield [_as(batch.column(name), dtype, path, name) for name, dtype in types.items()]


def _as(array: pa.Array, dtype: pa.DataType, path: str, name: str) -> pa.Array:
    """A column in another type that holds the same values."""
    if array.type.equals(dtype):
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), dtype)
    try:
        if _family(array.type) == _family(dtype):
            plain = array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
            held = plain.cast(dtype)
            if held.cast(plain.type).equals(plain):
                return held
    except (pa.ArrowException, ValueError):
        pass  # told below
    raise InvalidInputError(
        f"{path}: the column {name!r} holds {array.type}, which does not fit in the {dtype} of the files before: "
        f"write the files with one type, or score them one by one"
    )


def _without_views(dtype: pa.DataType) -> pa.DataType:
    """The type in a layout that Arrow can filter and write; the values are the same."""
    if pa.types.is_string_view(dtype):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(dtype) else dtype


def _family(dtype: pa.DataType) -> object:
    if is_text(dtype):
        return "text"
    if is_binary(dtype):
        return "binary"
    for is_one in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_timestamp):
        if is_one(dtype):
            return is_one.__name__
    return dtype


def _place(names: Sequence[str], name: str, path: str) -> int:
    if name not in names:
        raise InvalidInputError(f"{path} has no column {name!r}; it has {', '.join(names) or 'none'}")
    return list(names).index(name)


def _distinct(names: list[str], path: str) -> list[str]:
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidInputError(f"{path} has several columns of the name {twice[0]!r}")
    return names


@contextlib.contextmanager
def _explained(path: str, kind: str) -> Iterator[None]:
    try:
        yield
    except InvalidInputError:
        raise
    except _UNREADABLE as error:
        said = str(error).strip().split("\n")[0]
        raise InvalidInputError(f"{path} cannot be read as {kind}: {said}") from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if "://" not in path:
        with open(path, "rb") as file:
            yield file
        return
    import daft

    with daft.File(path).open() as opened, io.BufferedReader(_RemoteFile(opened)) as buffered:
        yield cast(BinaryIO, buffered)


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    with _opened(path) as opened, pq.ParquetFile(opened) as file:
        yield file


class _RemoteFile(io.RawIOBase):
    """A file of Daft's as Python's own."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readinto(self, buffer: Any) -> int:
        part = self._file.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
