"""The sub-commands `neurips16 export` and `neurips16 evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

SystemArgument = Annotated[str, typer.Argument(help="The system, such as deepmath.")]


def export(
    system: SystemArgument,
    repository: Annotated[Path, typer.Option(help="The model repository that gets the next version.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint of `neurips16 train`; none for a method without training.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The data set: parity on its inputs, and the task's own metric.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="HOST:PORT of a server that has loaded the new version: check it too.")
    ] = None,
    inline: Annotated[
        bool, typer.Option(help="Inline our own operators, for runtimes that know no functions.")
    ] = False,
) -> None:
    """Export a checkpoint, check it against torch, and publish it; a model that fails is not published."""
    from neurips16.export.run_export import run_export

    for folder in run_export(system, checkpoint, repository, data=data, url=url, inline=inline):
        typer.echo(f"published {folder}")


def evaluate(
    context: typer.Context,
    system: SystemArgument,
    data: Annotated[Path | None, typer.Option(help="The data set, in its public layout, where one is needed.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Measure a checkpoint.")] = None,
    model: Annotated[Path | None, typer.Option(help="Measure an exported model.onnx.")] = None,
    url: Annotated[str | None, typer.Option(help="Measure a server, HOST:PORT.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Measure a baseline of the system by its name.")] = None,
    split: Annotated[str, typer.Option(help="The part of the data set: test, or all.")] = "test",
    as_json: Annotated[bool, typer.Option("--json", help="Print one flat JSON object.")] = False,
) -> None:
    """Measure a system by its own metrics, the same for a checkpoint, an exported model, a server or a baseline.

    A system may have options of its own: an unknown one lists them.
    """
    from neurips16.clients.tables import print_table
    from neurips16.export.options import parse_options
    from neurips16.export.registry import Target, find_export
    from neurips16.export.run_export import evaluate_target

    chosen = find_export(system)
    options = parse_options(context.args, chosen)
    target = Target(checkpoint=checkpoint, model=model, url=url, baseline=baseline)
    metrics = evaluate_target(chosen, target, data, split, options)
    if as_json:
        typer.echo(json.dumps(metrics))
    else:
        rows = ((name, f"{value:.4f}" if isinstance(value, float) else str(value)) for name, value in metrics.items())
        print_table({"metric": "left", "value": "right"}, rows)


evaluate.context_settings = {"allow_extra_args": True, "ignore_unknown_options": True}  # type: ignore[attr-defined]
