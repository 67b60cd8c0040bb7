"""One training run: a preset, what the command line changes in it, and a folder that a stopped run resumes from."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from neurips16.training.errors import DataError, UnknownSystemError
from neurips16.training.system import System, find_system, read_checkpoint

LAST = "last.ckpt"
BATCHES_PER_CHECKPOINT = 100  # what a killed run loses, and one more where an epoch ends there
_log = logging.getLogger(__name__)


class _Latest(Callback):
    """Keeps the state of a run as ``last.ckpt``, every so many batches.

    Not at an epoch's last batch: from a state of there Lightning 2.6 goes on with an epoch that it takes for done, and
    the run ends an epoch short.
    """

    def __init__(self, path: Path):
        self._path, self._batches = path, 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._batches += 1
        if self._batches < BATCHES_PER_CHECKPOINT or trainer.is_last_batch:
            return
        aside = self._path.with_suffix(".part")
        trainer.save_checkpoint(aside)
        aside.replace(self._path)
        self._batches = 0


class _EpochLines(Callback):
    """Prints a line for each epoch, where there is no terminal for a progress bar."""

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        metrics = ", ".join(f"{name} {float(value):.4g}" for name, value in sorted(trainer.callback_metrics.items()))
        trainer.print(f"epoch {trainer.current_epoch}: {metrics}", flush=True)


class _CommandLine(LightningCLI):
    """LightningCLI for one system, with the system's own links from data to module."""

    def __init__(self, system: System, args: ArgsType, **options: Any):
        self._system = system
        super().__init__(
            system.module,
            system.data,
            args=args,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            **options,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch; 0 leaves its own choice")
        for source, target in self._system.links:
            parser.link_arguments(f"data.{source}", f"model.{target}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        if self.config.threads:
            torch.set_num_threads(self.config.threads)


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Denormals are zero in this thread, and in those that it starts, while a network is trained.

    Adam's averages of gradients that stay zero decay into denormals after some 850 steps, and a CPU computes with
    those many times more slowly: measured, a step then took three times as long.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _only_what_concerns_the_run() -> Iterator[None]:
    """Lightning keeps to itself what a reader can do nothing about, and its advertisements; warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The folder holds the metrics of a fresh run, and the checkpoints of one that goes on.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message=".*LeafSpec")  # Lightning's own call of torch
        # The command line is `neurips16 train`'s; what is for Lightning has been taken out of it.
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@_only_what_concerns_the_run()
@_flushed_denormals()
def run_training(
    system_name: str, preset: str, data: Path | None, output: Path, extra: Sequence[str] = ()
) -> Path | None:
    """Train a system as a preset says.

    It leaves in ``output``: ``epochNNN.ckpt`` after each epoch, ``last.ckpt`` every 100 batches, and, for each time
    that it was started, ``metrics/version_N`` with the whole configuration and the metrics.

    Args:
        system_name: a system that `system_names` lists.
        preset: the name of one of its presets.
        data: the folder of the data set; None for a system that needs none.
        output: the run's folder; if it holds ``last.ckpt`` the run continues from there.
        extra: further LightningCLI arguments, which win over the preset.

    Returns:
        The checkpoint of the last epoch; None where none was finished.

    Raises:
        UnknownSystemError: no such system or preset, or the system is not trained.
        DataError: no data are given and the system needs some, or they are not in their public layout.
    """
    system = find_system(system_name)
    if system.module is None:
        raise UnknownSystemError(f"{system_name} is not trained: see `neurips16 evaluate {system_name}`")
    if (data is None) != (system.data is None):
        needs = "needs a data set: give --data FOLDER" if system.data else "needs no data set: leave --data out"
        raise DataError(f"{system_name} {needs}")
    output.mkdir(parents=True, exist_ok=True)
    resume = output / LAST
    if resume.exists():
        read_checkpoint(resume)  # Lightning would refuse one that holds code, too, later and in many lines
    every_epoch = ModelCheckpoint(
        dirpath=output,
        filename="epoch{epoch:03d}",
        auto_insert_metric_name=False,
        every_n_epochs=1,
        save_top_k=-1,
        enable_version_counter=False,  # the file of an epoch that is finished later replaces that of its first part
    )
    folder = [] if data is None else [f"--data.folder={data}"]
    arguments = ["--config", str(system.preset(preset)), *folder, *extra]
    terminal = sys.stdout.isatty()
    line = _CommandLine(
        system,
        arguments,
        run=False,
        trainer_defaults={
            "default_root_dir": str(output),
            "enable_progress_bar": terminal,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(output), "name": "metrics"},  # a new version each time it continues
            },
            "callbacks": [every_epoch, _Latest(resume), *([] if terminal else [_EpochLines()])],
        },
    )
    line.model.preset = preset
    if resume.exists():
        _log.warning("continuing from %s", resume)
    line.trainer.fit(line.model, line.datamodule, ckpt_path=str(resume) if resume.exists() else None, weights_only=True)
    return last_checkpoint(output)


def last_checkpoint(run: Path) -> Path | None:
    """The checkpoint of a run's last epoch; None where none was finished."""
    return max(run.glob("epoch*.ckpt"), key=lambda path: (len(path.name), path.name), default=None)
