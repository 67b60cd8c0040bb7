"""The sub-command `models`: what a server holds."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import typer

from neurips16.clients.protocol.command_options import JsonOption, Server, asks_server

if TYPE_CHECKING:
    from neurips16.clients.protocol.messages import ModelConfig, ModelStatus, TensorInfo


@asks_server
def models(server: Server, as_json: JsonOption = False) -> None:
    """List the models that a server holds, and what each takes and gives."""
    from neurips16.clients.protocol.model_index import described_models
    from neurips16.clients.tables import print_table

    with server.client() as client:
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
