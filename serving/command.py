"""`neurips16 serve` and `neurips16 doctor`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class ModelControl(Enum):
    """What becomes of the set of models after the start, in Triton's words."""

    NONE = "none"
    POLL = "poll"
    EXPLICIT = "explicit"


def serve(
    repository: Annotated[list[Path], typer.Argument(help="Model repositories: MODEL/VERSION/model.onnx in each.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gRPC service; 0: a free one.")] = 8001,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP service; 0: a free one.")] = 8000,
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the metrics; 0: a free one.")] = 8002,
    model: Annotated[list[str] | None, typer.Option(help="Load only this model. May be repeated.")] = None,
    model_control: Annotated[
        ModelControl,
        typer.Option(
            help="After the start: none keeps the models; poll loads what is new or has changed in the repositories; "
            "explicit lets every client load and unload, which lets it run code here."
        ),
    ] = ModelControl.NONE,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long the models may take to load.")] = 600.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that the server says.")] = False,
) -> None:
    """Serve model repositories with Triton, until Ctrl-C or SIGTERM."""
    from neurips16.serving.service import Service

    service = Service(
        repository,
        host=host,
        ports=(grpc_port, http_port, metrics_port),
        models=model or None,
        model_control=model_control.value,
        timeout_s=timeout_s,
        verbose=verbose,
    )
    service.run()


def doctor() -> None:
    """Say what of serving is installed here, and whether it works."""
    from neurips16.serving.doctor import examine

    if not examine(typer.echo):
        raise typer.Exit(1)
