"""The sub-command `neurips16 train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    context: typer.Context,
    system: Annotated[str, typer.Argument(help="The system to train, such as deepmath.")],
    data: Annotated[
        Path | None, typer.Option(help="The data set's folder, in its public layout, where the system needs one.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A file of settings in training/presets/SYSTEM.")] = "paper",
    output: Annotated[Path | None, typer.Option(help="Where the run goes; default runs/SYSTEM-PRESET.")] = None,
) -> None:
    """Train a system; a run that was stopped goes on from its last checkpoint.

    Further options go to Lightning as they are: --model.learning_rate 0.002, --trainer.max_epochs 3,
    --data.limit 1000; --print_config shows them all.
    """
    from neurips16.training.run import run_training

    run_training(system, preset, data, output or Path("runs") / f"{system}-{preset}", context.args)


def cross_validate(
    context: typer.Context,
    system: Annotated[str, typer.Argument(help="The system to train, such as sound_classifier.")],
    data: Annotated[Path, typer.Option(help="The data set's folder; its own folds are held out in turn.")],
    preset: Annotated[str, typer.Option(help="A file of settings in training/presets/SYSTEM.")] = "paper",
    output: Annotated[Path | None, typer.Option(help="Where the runs go; default runs/SYSTEM-PRESET.")] = None,
    final: Annotated[bool, typer.Option(help="Also train on all folds together, at the end.")] = True,
    fold: Annotated[
        int | None, typer.Option(help="This fold alone: several may run at once, and the whole then collects them.")
    ] = None,
) -> None:
    """Train without each of the data set's folds in turn, measure on it, then train on all; continues where it was.

    Further options go to Lightning as they are, for every run.
    """
    from neurips16.training.cross_validation import cross_validate as run
    from neurips16.training.cross_validation import train_fold

    folder = output or Path("runs") / f"{system}-{preset}"
    if fold is not None:
        found = train_fold(system, preset, data, folder, fold, context.args)
        typer.echo(f"fold {fold}: accuracy {found['accuracy']:.4f}")
        return
    results = run(system, preset, data, folder, context.args, final=final)
    for done in results["folds"]:
        typer.echo(f"fold {done['fold']}: accuracy {done['accuracy']:.4f}")
    typer.echo(f"mean {results['accuracy_mean']:.4f}, standard deviation {results['accuracy_std']:.4f}")


for _command in (train, cross_validate):
    setattr(_command, "context_settings", {"allow_extra_args": True, "ignore_unknown_options": True})  # noqa: B010
