"""The sub-commands `neurips16 train` and `neurips16 cross-validate`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def _list_systems(asked: bool) -> None:
    if not asked:
        return
    from neurips16.training.system import find_system, system_names

    for system in map(find_system, system_names()):
        if system.module is not None:
            data = "" if system.data is None else "--data FOLDER "
            typer.echo(f"{system.name:<20}{data}--preset {'|'.join(system.preset_names())}")
    raise typer.Exit


def train(
    context: typer.Context,
    system: Annotated[str, typer.Argument(help="The system to train, such as deepmath.")],
    data: Annotated[
        Path | None, typer.Option(help="The data set's folder, in its public layout, where the system needs one.")
    ] = None,
    preset: Annotated[str, typer.Option(help="A file of settings in training/presets/SYSTEM.")] = "paper",
    output: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/SYSTEM-PRESET")] = None,
    listed: Annotated[
        bool,
        typer.Option("--list", callback=_list_systems, is_eager=True, help="List the systems and their presets."),
    ] = False,
) -> None:
    """Train a system; a run that was stopped resumes from its last checkpoint.

    Further options go to Lightning as they are: --model.learning_rate 0.002, --trainer.max_epochs 3, --data.limit 1000.
    --print_config shows them all.
    """
    from lightning.pytorch.utilities import rank_zero_only as on_first_process

    from neurips16.training.run import run_training

    checkpoint = run_training(system, preset, data, output or Path("runs") / f"{system}-{preset}", context.args)
    if checkpoint is None:
        on_first_process(typer.echo)("no epoch was finished: there is no checkpoint to export")
        return
    command = ["neurips16", "export", system, "--checkpoint", checkpoint, "--repository", "models"]
    command += [] if data is None else ["--data", data]
    on_first_process(typer.echo)(f"trained: {checkpoint}\nexport it: {shlex.join(map(str, command))}")


def cross_validate(
    context: typer.Context,
    system: Annotated[str, typer.Argument(help="The system to train, such as sound_classifier.")],
    data: Annotated[Path, typer.Option(help="The data set's folder; its own folds are held out in turn.")],
    preset: Annotated[str, typer.Option(help="A file of settings in training/presets/SYSTEM.")] = "paper",
    output: Annotated[
        Path | None, typer.Option(help="The folder of the runs.", show_default="runs/SYSTEM-PRESET")
    ] = None,
    final: Annotated[bool, typer.Option(help="Also train on all folds together, at the end.")] = True,
    fold: Annotated[
        int | None,
        typer.Option(help="Train for this fold only: several can run at once; a run without --fold collects them."),
    ] = None,
) -> None:
    """Cross-validate: train without each fold of the data set in turn and measure on it, then train on all of them.

    A cross-validation that was stopped resumes. Further options go to Lightning as they are, for every run.
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
