"""The sub-command `novelty`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurips16.clients.protocol.command_options import Server, asks_server

if TYPE_CHECKING:
    import numpy as np


@asks_server
def novelty(
    server: Server,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table of numbers: .npy, or .parquet.")],
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The list column of a Parquet file; default: all number columns.")
    ] = None,
    bits: Annotated[int, typer.Option(min=1, help="Length of the code: more bits tell more rows apart.")] = 16,
    centre: Annotated[bool, typer.Option(help="Subtract each column's mean first.")] = True,
    top: Annotated[int, typer.Option(min=1, metavar="K", help="Show the newest K rows.")] = 20,
    output: Annotated[
        Path | None, typer.Option(metavar="NPY", help="Write all scores there, float64, in the rows' order.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one for each row.")] = False,
) -> None:
    """Rank the rows of a table by how new they are: what has few others like it comes first."""
    import numpy as np

    from neurips16.clients.protocol.errors import InvalidInputError
    from neurips16.clients.tables import print_table

    table = read_table(file, column)
    with server.client() as client:
        found = client.novelty(table, bits=bits, centre=centre)
    if output is not None:
        try:
            np.save(output, found.scores)
        except OSError as error:
            raise InvalidInputError(f"{output} cannot be written: {error.strerror}") from error
    shown = found.order[:top].tolist()
    if as_json:
        for row in shown:
            typer.echo(json.dumps({"row": row, "count": int(found.counts[row]), "novelty": float(found.scores[row])}))
        return
    rows = ((str(row), str(found.counts[row]), f"{found.scores[row]:.3f}") for row in shown)
    print_table({"row": "right", "rows like it": "right", "novelty": "right"}, rows)
    typer.echo(f"{len(table)} rows have {len(np.unique(found.codes, axis=0))} codes of {bits} bits")


def read_table(path: Path, column: str | None) -> np.ndarray:
    """The numbers [N, D] of a file.

    Raises:
        InvalidInputError: it cannot be read, or holds no table of numbers.
    """
    import numpy as np

    from neurips16.clients.protocol.errors import InvalidInputError

    try:
        if path.suffix == ".npy":
            if column is not None:
                raise InvalidInputError("--column is for Parquet files: an .npy file is one table")
            return np.load(path, allow_pickle=False)
        if path.suffix != ".parquet":
            raise InvalidInputError(f"{path}: expected an .npy or a .parquet file")
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        if column is None:
            numbers = [name for name in table.column_names if _is_number(table.schema.field(name).type)]
            if not numbers:
                raise InvalidInputError(f"{path} has no columns of numbers: name a list column with --column")
            return np.stack([table[name].to_numpy() for name in numbers], 1)
        if column not in table.column_names:
            raise InvalidInputError(f"{path} has no column {column!r}; it has: {', '.join(table.column_names)}")
        return np.array(table[column].to_pylist(), np.float64)
    except (OSError, ValueError, NotImplementedError, KeyError, TypeError) as error:  # Arrow's derive from these
        raise InvalidInputError(f"{path} cannot be read as a table of numbers: {error}") from error


def _is_number(kind: object) -> bool:
    import pyarrow.types

    return pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
