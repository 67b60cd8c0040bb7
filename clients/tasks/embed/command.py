"""The sub-command `embed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from neurips16.clients.protocol.command_options import JsonOption, Server, asks_server


@asks_server
def embed(
    server: Server,
    statements: Annotated[Path, typer.Argument(metavar="FILE", help="Statements, one a line; - for standard input.")],
    output: Annotated[
        Path | None, typer.Option(metavar="NPY", help="Write the vectors there, float32, a row for each statement.")
    ] = None,
    side: Annotated[
        str, typer.Option(help="Embed them as premises or as conjectures: premise or conjecture.")
    ] = "premise",
    as_json: JsonOption = False,
) -> None:
    """Turn statements into vectors."""
    import numpy as np

    from neurips16.clients.protocol.errors import InvalidInputError
    from neurips16.clients.tasks.rank_premises.statements import read_premises

    if output is None and not as_json:
        raise InvalidInputError("name a file with --output, or ask for --json")
    parsed = read_premises(statements)
    with server.client() as client:
        vectors = client.embed(parsed, side=side)
    if output is not None:
        try:
            np.save(output, vectors)
        except OSError as error:
            raise InvalidInputError(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        for statement, vector in zip(parsed, vectors, strict=True):
            typer.echo(json.dumps({"name": statement.name, "text": statement.text, "embedding": vector.tolist()}))
    else:
        typer.echo(f"wrote {len(vectors)} vectors of {vectors.shape[1]} numbers to {output}")
