"""How a system says that it can be exported and evaluated.

The module ``export/systems/SYSTEM.py``, or a package there, calls `register` once, at import; a package of a user's own
does the same in a module that it names as an entry point of the group ``neurips16.exports`` (the group
``neurips16.systems`` is training's, and its entries are what can be trained). Nothing lists the systems: asking for one
by name imports its module.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from neurips16.export.errors import SystemRegistryError
from neurips16.export.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

GROUP = "neurips16.exports"
PACKAGE = "neurips16.export.systems"


@dataclass(frozen=True)
class ExportedModel:
    """One ONNX model of a system, and what it takes to export and to check it."""

    spec: ModelSpec
    module: nn.Module  # in evaluation mode; forward takes the specification's input names
    example_inputs: Mapping[str, torch.Tensor]  # every free axis at least 2 long
    cases: Sequence[Mapping[str, np.ndarray]]  # real inputs for the parity check, every free axis at two lengths
    fp16_weights: bool = False


@dataclass(frozen=True)
class Station:
    """Where a metric is measured: exactly one of the four is given."""

    checkpoint: Path | None = None
    model: Path | None = None  # an ONNX file
    url: str | None = None  # a server, HOST:PORT
    baseline: str | None = None  # a method without a network, by its name in the system

    def __post_init__(self) -> None:
        given = [name for name in ("checkpoint", "model", "url", "baseline") if getattr(self, name) is not None]
        if len(given) != 1:
            raise SystemRegistryError(
                "name one of a checkpoint, a model file, a server's URL and a baseline, "
                f"got {', '.join(given) or 'none'}"
            )


@dataclass(frozen=True)
class System:
    """A system of the house.

    Attributes:
        name: the same in training/, export/ and on the command line.
        models: checkpoint and data folder (or None) to the models to export, in the order in which to publish them.
        evaluate: station, data folder, split ("test" or "all") and options to metrics, one flat mapping with the same
            names at every station.
        options: name to explanation of the options that ``evaluate`` knows.
        quick_options: with which ``evaluate`` measures the gated metrics at an export, and no more.
    """

    name: str
    models: Callable[[Path, Path | None], Sequence[ExportedModel]]
    evaluate: Callable[[Station, Path, str, Mapping[str, str]], Mapping[str, float]]
    options: Mapping[str, str] = field(default_factory=dict)
    quick_options: Mapping[str, str] = field(default_factory=dict)


_systems: dict[str, System] = {}


def register(system: System) -> System:
    """Make ``system`` known.

    Raises:
        SystemRegistryError: another system has this name.
    """
    taken = _systems.setdefault(system.name, system)
    if taken is not system:
        raise SystemRegistryError(
            f"two systems are called {system.name!r}: {_home(taken)} and {_home(system)}; rename one of them"
        )
    return system


def get(name: str) -> System:
    """The system called ``name``.

    Raises:
        SystemRegistryError: there is none; the text lists those that there are.
    """
    entry = next((e for e in entry_points(group=GROUP) if e.name == name), None)
    if entry is not None:
        entry.load()
    elif name.isidentifier() and importlib.util.find_spec(f"{PACKAGE}.{name}") is not None:
        importlib.import_module(f"{PACKAGE}.{name}")
    if name not in _systems:
        raise SystemRegistryError(f"there is no system {name!r}; there are: {', '.join(names()) or 'none'}")
    return _systems[name]


def names() -> list[str]:
    """The names of all systems, sorted. Imports every module of the room: for listings and error texts."""
    for module in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__):
        importlib.import_module(f"{PACKAGE}.{module.name}")
    for entry in entry_points(group=GROUP):
        entry.load()
    return sorted(_systems)


def _home(system: System) -> str:
    return getattr(system.models, "__module__", repr(system.models))
