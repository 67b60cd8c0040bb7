"""The sub-command."""

from pathlib import Path
from typing import Annotated

import typer

from neurips16.clients.protocol.command_options import Server, asks_server


@asks_server
def name_stripes(server: Server, images: Annotated[list[Path], typer.Argument(help="Pictures of stripes.")]) -> None:
    """Say which way stripes run."""
    with server.client() as client:
        for image in images:
            typer.echo(f"{image}: {client.name_stripes(image)}")
