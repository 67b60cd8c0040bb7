"""What a system is, where systems are found, and how a checkpoint becomes a module again.

A system is a module `training/systems/NAME.py`, or a package so called, that ends in ``SYSTEM = System(...)`` and has
a folder of presets `training/presets/NAME/`. Another package adds its own through the entry-point group
``neurips16.systems``, whose entries name a `System`; a name that two of them claim is refused.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import lightning
import torch

from neurips16.training.commit import source_commit
from neurips16.training.errors import CheckpointError, UnknownSystemError
from neurips16.training.tensor_file import read_tensor_file

PRESETS = Path(__file__).parent / "presets"
PACKAGE = "neurips16.training.systems"
GROUP = "neurips16.systems"
CHECKPOINT_KEY = "neurips16"


class FoldedSet(Protocol):
    """A data set that is divided into folds of its own."""

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes."""

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds."""

    def within(self, fold: int) -> list[Any]:
        """The examples of one fold: each has a ``name`` and a ``label``, counted from 0."""


@dataclass(frozen=True)
class Folds:
    """How a system is cross-validated; its data module has the argument ``held_out_fold``, of which 0 is none."""

    read: Callable[[Path], FoldedSet]
    classify: Callable[[Any, Any], int]  # the module and an example to the label that it is given


@dataclass(frozen=True)
class System:
    """What a system trains with.

    Attributes:
        name: the same in export/ and on the command line.
        module: its Lightning module; None for a system that is not trained.
        data: its data module; None where the module makes its own batches, or nothing is trained.
        links: data attribute and module argument that the data decide (a vocabulary, a number of classes).
        folds: for a system that can be cross-validated.
        presets: the folder of its presets; None: training/presets/NAME.
    """

    name: str
    module: type[SystemModule] | None = None
    data: type[lightning.LightningDataModule] | None = None
    links: tuple[tuple[str, str], ...] = ()
    folds: Folds | None = None
    presets: Path | None = None

    def preset_names(self) -> list[str]:
        """The names of its presets, sorted."""
        return sorted(path.stem for path in (self.presets or PRESETS / self.name).glob("*.yaml"))

    def preset(self, name: str) -> Path:
        """The file of a preset.

        Raises:
            UnknownSystemError: there is none of that name; the text lists those that exist.
        """
        if name not in self.preset_names():
            known = ", ".join(self.preset_names()) or "none"
            raise UnknownSystemError(f"{self.name} has no preset {name!r}; its presets are: {known}")
        return (self.presets or PRESETS / self.name) / f"{name}.yaml"


class SystemModule(lightning.LightningModule):
    """A Lightning module whose checkpoints say which system they belong to and what made them."""

    system: ClassVar[str]
    preset: str | None = None  # of the training run, which sets it
    if TYPE_CHECKING:
        # What Lightning's own types do not say: an attribute for each argument that was saved; a trainer that knows its
        # data module; one optimiser or several, as the module has them.
        hparams: Any
        trainer: Any
        optimizers: Any

    def save_plain_hyperparameters(self) -> None:
        """Keep the arguments of the ``__init__`` that calls this as ``hparams``, sequences as lists.

        As plain values they can be read back from a checkpoint without running code.
        """
        frame = inspect.currentframe()
        assert frame is not None
        self.save_hyperparameters(frame=frame.f_back)
        for name, value in self.hparams.items():
            self.hparams[name] = _plain(value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the system's name and the versions that trained it."""
        checkpoint[CHECKPOINT_KEY] = {
            "system": self.system,
            "torch": str(torch.__version__),  # a TorchVersion would not be a plain value
            "neurips16": version("neurips16"),
            "commit": source_commit(),
            "preset": self.preset,
            "processor": platform.processor() or platform.machine(),
            "epoch": self.current_epoch,
            "step": self.global_step,
            "metrics": {k: float(v) for k, v in self.trainer.callback_metrics.items()},
        }


def system_names() -> list[str]:
    """The names of all systems, without importing them."""
    return sorted(_own_names() | {entry.name for entry in entry_points(group=GROUP)})


def find_system(name: str) -> System:
    """The system of that name.

    Raises:
        UnknownSystemError: no system, or more than one, has that name.
    """
    others = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    own = name in _own_names()
    if len(others) + own > 1:
        claims = ", ".join(["neurips16.training", *(e.value for e in others)] if own else [e.value for e in others])
        raise UnknownSystemError(f"the system name {name!r} is claimed more than once ({claims}): uninstall one")
    if others:
        return others[0].load()
    if not own:
        raise UnknownSystemError(f"there is no system {name!r}; the systems are: {', '.join(system_names())}")
    return importlib.import_module(f"{PACKAGE}.{name}").SYSTEM


def _own_names() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, opened without running any code that it may hold.

    Raises:
        CheckpointError: the file is missing, is no checkpoint, or was not written by `neurips16 train`.
    """
    checkpoint = read_tensor_file(path)
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise CheckpointError(f"{path} was not written by `neurips16 train`: it does not name its system")
    facts, hyper_parameters, weights = (checkpoint.get(k) for k in (CHECKPOINT_KEY, "hyper_parameters", "state_dict"))
    if (
        not (isinstance(facts, dict) and isinstance(facts.get("system"), str))
        or not (isinstance(hyper_parameters, dict) and all(isinstance(name, str) for name in hyper_parameters))
        or not isinstance(weights, dict)
    ):
        raise CheckpointError(
            f"{path} was not written by `neurips16 train`: its system, hyper-parameters or weights are missing, or of "
            "another type"
        )
    return checkpoint


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file is a checkpoint of `neurips16 train`, and not one of tensors from elsewhere.

    Raises:
        CheckpointError: the file is missing, or holds anything but tensors and plain values.
    """
    if Path(path).suffix == ".npy":
        return False
    content = read_tensor_file(path)
    return isinstance(content, dict) and CHECKPOINT_KEY in content


def load_module(path: str | Path, system: str | None = None) -> SystemModule:
    """Rebuild the module of a checkpoint from the hyper-parameters that it carries, in evaluation mode.

    Args:
        path: a checkpoint of `neurips16 train`.
        system: the system that it must belong to; None takes any.

    Raises:
        CheckpointError: see `read_checkpoint`; also if it belongs to another system, or its weights do not fit.
    """
    checkpoint = read_checkpoint(path)
    found = checkpoint[CHECKPOINT_KEY]["system"]
    if system is not None and found != system:
        raise CheckpointError(f"{path} is a checkpoint of {found!r}, expected one of {system!r}")
    hyper_parameters = {k: v for k, v in checkpoint["hyper_parameters"].items() if not k.startswith("_")}
    make = find_system(found).module
    if make is None:
        raise CheckpointError(f"{path} says that it is of {found!r}, which is not trained")
    try:
        module = make(**hyper_parameters)
        module.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # values of any kind reach the constructors of the system's layers
        reason = " ".join(str(error).split())[:500]
        raise CheckpointError(f"{path} does not fit this version of {found!r}: {reason}") from error
    return module.eval()


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
