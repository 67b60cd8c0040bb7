"""Training: PyTorch modules, data sets and presets; what leaves this package is a checkpoint.

The names below are imported when they are first used, so that a sub-command starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurips16.training.errors import CheckpointError, DataError, TrainingError, UnknownSystemError
    from neurips16.training.run import run_training
    from neurips16.training.system import System, SystemModule, find_system, load_module, system_names

__all__ = [
    "CheckpointError",
    "DataError",
    "System",
    "SystemModule",
    "TrainingError",
    "UnknownSystemError",
    "find_system",
    "load_module",
    "run_training",
    "system_names",
]

_HOMES = {
    "errors": ("CheckpointError", "DataError", "TrainingError", "UnknownSystemError"),
    "run": ("run_training",),
    "system": ("System", "SystemModule", "find_system", "load_module", "system_names"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
