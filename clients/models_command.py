"""The sub-command `models`: what a server holds."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from neurips16.clients.protocol.messages import ModelConfig, ModelStatus, TensorInfo

UrlOption = Annotated[
    str | None, typer.Option("--url", metavar="HOST:PORT", help="The server [default: NEURIPS16_URL or localhost:8001]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def models(as_json: JsonOption = False, url: UrlOption = None) -> None:
    """List the models that a server holds, and what each takes and gives."""
    from neurips16.clients.client import Client
    from neurips16.clients.protocol.model_index import described_models
    from neurips16.clients.tables import print_table

    with Client(url) as client:
        found = client.run(described_models())
    if as_json:
        typer.echo(json.dumps({"models": [_as_dict(status, config) for status, config in found]}))
    elif not found:
        typer.echo(f"{client.connection.url} holds no model")
    else:
        print_table(
            {"model": "left", "version": "right", "state": "left", "batch": "right", "inputs and outputs": "left"},
            (
                (
                    status.name,
                    status.version or "-",
                    "ready" if status.ready else "not ready",
                    str(config.max_batch_size) if config else "-",
                    f"{_show(config.inputs)} -> {_show(config.outputs)}" if config else status.reason,
                )
                for status, config in found
            ),
        )


def _as_dict(status: ModelStatus, config: ModelConfig | None) -> dict[str, object]:
    said = dataclasses.asdict(config) if config else {}
    return {**dataclasses.asdict(status), **{key: said[key] for key in said if key != "name"}}


def _show(tensors: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{t.name} {t.dtype}[{','.join('?' if d < 0 else str(d) for d in t.dims)}]" for t in tensors)
