"""What a system is, where systems are found, and how a checkpoint becomes a module again.

A system is a module `training/systems/NAME.py`, or a package so called, that ends in ``SYSTEM = System(...)`` and has
a folder of presets `training/presets/NAME/`. Another package adds its own through the entry-point group
``neurips16.systems``, whose entries name a `System`; a name that two of them claim is refused.
"""

from __future__ import annotations

import importlib
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import lightning
import torch

from neurips16.training.errors import CheckpointError, UnknownSystemError
from neurips16.training.tensor_file import read_tensor_file

PRESETS = Path(__file__).parent / "presets"
GROUP = "neurips16.systems"
CHECKPOINT_KEY = "neurips16"


@dataclass(frozen=True)
class System:
    """A trainable system: its Lightning module and data module, and the links between their arguments."""

    name: str
    module: type[SystemModule]
    data: type[lightning.LightningDataModule]
    # data attribute -> module argument that the data decide (a vocabulary, a number of classes)
    links: tuple[tuple[str, str], ...] = ()
    presets: Path | None = None  # default: training/presets/NAME

    def preset(self, name: str) -> Path:
        """The file of a preset.

        Raises:
            UnknownSystemError: there is none of that name; the text lists those that exist.
        """
        folder = self.presets or PRESETS / self.name
        if not (path := folder / f"{name}.yaml").is_file():
            known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
            raise UnknownSystemError(f"{self.name} has no preset {name!r}; its presets are: {known}")
        return path


class SystemModule(lightning.LightningModule):
    """A Lightning module whose checkpoints say which system they belong to and what made them."""

    system: ClassVar[str]
    if TYPE_CHECKING:
        # What Lightning's own types do not say: an attribute for each argument that was saved; a trainer that knows its
        # data module; one optimiser or several, as the module has them.
        hparams: Any
        trainer: Any
        optimizers: Any

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the system's name and the versions that trained it."""
        checkpoint[CHECKPOINT_KEY] = {
            "system": self.system,
            "torch": str(torch.__version__),  # a TorchVersion would not be a plain value
            "neurips16": version("neurips16"),
            "commit": _commit(),
            "processor": platform.processor() or platform.machine(),
            "epoch": self.current_epoch,
            "step": self.global_step,
            "metrics": {k: float(v) for k, v in self.trainer.callback_metrics.items()},
        }


def system_names() -> list[str]:
    """The names of all systems, without importing them."""
    own = {path.name for path in PRESETS.iterdir() if path.is_dir()}
    return sorted(own | {entry.name for entry in entry_points(group=GROUP)})


def find_system(name: str) -> System:
    """The system of that name.

    Raises:
        UnknownSystemError: no system, or more than one, has that name.
    """
    others = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    own = (PRESETS / name).is_dir()
    if len(others) + own > 1:
        claims = ", ".join(["neurips16.training", *(e.value for e in others)] if own else [e.value for e in others])
        raise UnknownSystemError(f"the system name {name!r} is claimed more than once ({claims}): uninstall one")
    if others:
        return others[0].load()
    if not own:
        raise UnknownSystemError(f"there is no system {name!r}; the systems are: {', '.join(system_names())}")
    return importlib.import_module(f"neurips16.training.systems.{name}").SYSTEM


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
    module_class = find_system(found).module
    try:
        module = module_class(**hyper_parameters)
        module.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # values of any kind reach the constructors of the system's layers
        reason = " ".join(str(error).split())[:500]
        raise CheckpointError(f"{path} does not fit this version of {found!r}: {reason}") from error
    return module.eval()


def _commit() -> str:
    """The commit of the checkout that trains, "unknown" outside one."""
    run = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return run.stdout.strip() or "unknown"
