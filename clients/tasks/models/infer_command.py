"""The sub-command `infer`: any model, with arrays from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurips16.clients.protocol.command_options import JsonOption, Server, asks_server

if TYPE_CHECKING:
    import numpy as np


@asks_server
def infer(
    server: Server,
    model: Annotated[str, typer.Argument(help="Its name on the server.", show_default=False)],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=FILE.npy...", help="Each input as a NumPy file, batch axis first."),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Write each output there, as NAME.npy.")] = None,
    version: Annotated[str, typer.Option(help="The version of the model.", show_default="the server's choice")] = "",
    as_json: JsonOption = False,
) -> None:
    """Ask any model, with arrays from files; `neurips16 models` says what each takes."""
    import numpy as np

    from neurips16.clients.protocol.errors import InvalidInputError
    from neurips16.clients.tables import print_table

    with server.client() as client:
        answer = client.infer(model, dict(_array(text) for text in inputs or ()), version=version)
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
            for name, array in answer.items():
                np.save(output / f"{Path(name).name}.npy", array, allow_pickle=array.dtype.kind == "O")
        except OSError as error:
            raise InvalidInputError(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        typer.echo(json.dumps({name: _listed(array) for name, array in answer.items()}))
        return
    print_table(
        {"output": "left", "dtype": "left", "shape": "left", "values": "left"},
        (
            (
                name,
                str(array.dtype),
                str(list(array.shape)),
                np.array2string(array.ravel()[:8], precision=4, separator=", "),
            )
            for name, array in answer.items()
        ),
    )


def _array(text: str) -> tuple[str, np.ndarray]:
    import numpy as np

    from neurips16.clients.protocol.errors import InvalidInputError

    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise InvalidInputError(f"an input is NAME=FILE.npy, got {text!r}")
    try:
        return name, np.load(path, allow_pickle=False)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise InvalidInputError(f"{path} is no array of numbers in NumPy's format (numpy.save): {error}") from error


def _listed(array: np.ndarray) -> object:
    if array.dtype.kind == "O":
        return [item.decode(errors="replace") for item in array.ravel()]
    return array.tolist()
