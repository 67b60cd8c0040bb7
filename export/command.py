"""The sub-commands `neurips16 export` and `neurips16 evaluate`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

SystemArgument = Annotated[str, typer.Argument(help="The system, such as deepmath.")]


class Precision(Enum):
    """Of the stored weights, and with int8 of the arithmetic."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def export(
    system: SystemArgument,
    repository: Annotated[Path, typer.Option(help="The model repository that gets the next version.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint of `neurips16 train`; none for a method without training.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The data set: parity on its inputs, and the task's own metric against the checkpoint and what is "
            "published."
        ),
    ] = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Publish without data: no metric is compared.")] = False,
    replace_better: Annotated[
        bool, typer.Option("--replace-better", help="Publish even what is worse than the published version.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of a server that loads the new version: check it too, and take it back if it fails."
        ),
    ] = None,
    inline: Annotated[
        bool, typer.Option(help="Inline our own operators, for runtimes that know no functions.")
    ] = False,
    opset: Annotated[int | None, typer.Option(min=18, help="ONNX opset of the file.")] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Of the stored weights; by default the system's own choice. int8 computes with eight bits, calibrated "
            "on the data, and the task's metric decides."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all but publish.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Export a checkpoint, check it, and publish it: no model that fails, or is worse than the published one."""
    from neurips16.clients.tables import print_table
    from neurips16.export.run_export import run_export

    summary = run_export(
        system,
        checkpoint,
        repository,
        data=data,
        no_data=no_data,
        replace_better=replace_better,
        url=url,
        inline=inline,
        opset=opset,
        precision=None if precision is None else precision.value,
        dry_run=dry_run,
        progress=lambda line: typer.echo(line, err=True),
    )
    facts = summary.facts()
    if as_json:
        typer.echo(json.dumps({"published": not dry_run, "models": facts}, default=str))
        return
    columns: dict[str, Literal["left", "right"]] = {
        "model": "left",
        "version": "right",
        "kB": "right",
        "compared": "left",
    }
    print_table(columns, (_row(fact, line) for fact in facts for line in _compared(fact)))
    for fact in facts:
        typer.echo(f"published {fact['folder']}" if fact["folder"] else f"not published (dry run): {fact['model']}")


def _row(fact: dict[str, Any], line: str) -> tuple[str, ...]:
    return fact["model"], str(fact["version"] or "-"), str(fact["bytes"] // 1000), line


def _compared(fact: dict[str, Any]) -> Iterator[str]:
    """What was compared of a model, in lines."""
    for run, outputs in fact["differences"].items():
        for output, difference in outputs.items():
            yield f"{run}: {output} differs from torch by {difference:.3g} at most"
    for where, metrics in fact["metrics"].items():
        for name, values in metrics.items():
            yield f"{name}: {_number(values['torch'])} in torch, {_number(values[where])} in the file"
    incumbent = fact["incumbent"]
    for name, values in incumbent.get("metrics", {}).items():
        yield f"{name}: {_number(values['incumbent'])} in version {incumbent['version']}, {_number(values['onnx'])} now"
    if not incumbent["compared"]:
        replaced = f"version {incumbent['version']} was not compared: " if incumbent["version"] else ""
        yield f"{replaced}{incumbent['why']}"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"


def evaluate(
    context: typer.Context,
    system: SystemArgument,
    data: Annotated[Path | None, typer.Option(help="The data set, in its public layout, where one is needed.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Measure a checkpoint.")] = None,
    model: Annotated[Path | None, typer.Option(help="Measure an exported model.onnx.")] = None,
    url: Annotated[str | None, typer.Option(help="Measure a server, HOST:PORT.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Measure a baseline of the system by its name.")] = None,
    version: Annotated[str, typer.Option(help="With --url: this version, not the server's choice.")] = "",
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
    target = Target(checkpoint=checkpoint, model=model, url=url, baseline=baseline, version=version)
    metrics = evaluate_target(chosen, target, data, split, options)
    if as_json:
        typer.echo(json.dumps(metrics))
    else:
        rows = ((name, f"{value:.4f}" if isinstance(value, float) else str(value)) for name, value in metrics.items())
        print_table({"metric": "left", "value": "right"}, rows)


class VersionsAction(Enum):
    """What `neurips16 versions` does."""

    LIST = "list"
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    PRUNE = "prune"


def versions(
    models: Annotated[
        list[str], typer.Argument(help="The model; all models of one export, where they change together.")
    ],
    repository: Annotated[Path, typer.Option(help="The model repository.")],
    action: Annotated[
        VersionsAction,
        typer.Option(
            "--do",
            help="rollback: publish again what stood before the newest version. promote: publish --number again. "
            "prune: remove all but the newest --keep.",
        ),
    ] = VersionsAction.LIST,
    number: Annotated[int | None, typer.Option(min=1, help="The version to promote.")] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="How many of the newest versions prune leaves.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Change a model without the others of the same export.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the versions of a model with their metrics and origin; go back to one, or remove old ones."""
    from neurips16.clients.tables import print_table
    from neurips16.export.errors import PublishError
    from neurips16.export.versions import check_together, describe, promote, prune, rollback_number

    if (number is not None) != (action is VersionsAction.PROMOTE):
        raise PublishError("--number goes with --do promote, and says which version is published again")
    if (keep is not None) != (action is VersionsAction.PRUNE):
        raise PublishError("--keep goes with --do prune, and says how many versions stay")
    found = {model: describe(repository / model) for model in models}
    if action in (VersionsAction.ROLLBACK, VersionsAction.PROMOTE):
        numbers = {model: number or rollback_number(model, known) for model, known in found.items()}
        if not alone:
            check_together(repository, numbers)
        said = [f"{m}: version {n} is published again as {promote(repository / m, n).name}" for m, n in numbers.items()]
    elif keep is not None:
        gone = {model: prune(repository / model, keep) for model in models}
        said = [f"{model}: removed {', '.join(map(str, numbers)) or 'nothing'}" for model, numbers in gone.items()]
    elif as_json:
        typer.echo(json.dumps({model: [dataclasses.asdict(v) for v in known] for model, known in found.items()}))
        return
    else:
        columns: dict[str, Literal["left", "right"]] = {"model": "left", "version": "right", "date": "left"}
        columns |= {"kB": "right", "checkpoint": "left", "metrics": "left"}
        print_table(columns, ((model, *version.row()) for model, known in found.items() for version in known))
        return
    typer.echo(json.dumps({"changed": said}) if as_json else "\n".join(said))


evaluate.context_settings = {"allow_extra_args": True, "ignore_unknown_options": True}  # type: ignore[attr-defined]
