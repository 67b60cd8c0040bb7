"""How a system says that it can be exported and evaluated.

A module ``export/systems/NAME.py``, or a package so called, ends in ``EXPORT = SystemExport(...)``, as
``training/systems/NAME.py`` ends in ``SYSTEM = System(...)``. Another package adds its own through the entry-point
group ``neurips16.exports``, whose entries name a `SystemExport`; a name that two of them claim is refused. Nothing
lists the systems, and nothing is imported but the one that is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurips16.export.errors import EvaluationError, UnknownExportError
from neurips16.export.spec import ModelSpec, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    Arrays = Mapping[str, np.ndarray]

GROUP = "neurips16.exports"
PACKAGE = "neurips16.export.systems"


@dataclass(frozen=True)
class ExportedModel:
    """One ONNX model of a system, and what it takes to export and to check it."""

    spec: ModelSpec
    module: nn.Module  # in evaluation mode; forward takes the specification's input names
    example_inputs: Mapping[str, torch.Tensor]  # every free axis at least 2 long
    # Real inputs for the parity check, every free axis at two lengths; of a model that keeps state, lists of steps.
    cases: Sequence[Arrays | Sequence[Arrays]]
    fp16_weights: bool = False
    # Real inputs that are not those of the metric, for `--precision int8`; None: the model is not quantised.
    calibration: Callable[[], Iterable[Arrays]] | None = None


@dataclass(frozen=True)
class Target:
    """What is measured: exactly one of the four is given."""

    checkpoint: Path | None = None
    model: Path | None = None  # an ONNX file
    url: str | None = None  # a server, HOST:PORT
    baseline: str | None = None  # a method without a network, by its name in the system
    version: str = ""  # of a server's models; empty: the server's choice

    def __post_init__(self) -> None:
        given = [name for name in ("checkpoint", "model", "url", "baseline") if getattr(self, name) is not None]
        if len(given) != 1:
            raise EvaluationError(
                "name one of a checkpoint, a model file, a server's URL and a baseline, "
                f"got {', '.join(given) or 'none'}"
            )
        if self.version and self.url is None:
            raise EvaluationError(
                f"version {self.version!r} is asked of a server: give --url with it, or name its file"
            )


@dataclass(frozen=True)
class SystemExport:
    """What of a system is exported, and how it is measured.

    Attributes:
        name: the same in training/, export/ and on the command line.
        evaluate: None where there is nothing to measure; else target, data folder (None for a system that needs no
            data), split ("test" or "all") and options to metrics, one flat mapping with the same names for every
            target.
        models: checkpoint (None for a system without training) and data folder (or None) to the models to export, in
            the order in which to publish them; None for a system of which nothing is exported.
        options: name to explanation of the options that ``evaluate`` knows.
        quick_options: with which ``evaluate`` measures the gated metrics at an export, and no more.
        needs_data: whether ``evaluate`` needs a data set.
        trained: whether the models come from a checkpoint; those of a method without training need none.
    """

    name: str
    evaluate: Callable[[Target, Any, str, Mapping[str, str]], Mapping[str, float]] | None = None
    models: Callable[[Any, Path | None], Sequence[ExportedModel]] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    quick_options: Mapping[str, str] = field(default_factory=dict)
    needs_data: bool = True
    trained: bool = True


def range_parameters(inputs: Sequence[TensorSpec]) -> dict[str, str]:
    """The permitted values of each input that has a range, for clients: ``seed_range`` is "0 2147483647"."""
    return {f"{t.name}_range": f"{t.range[0]:.10g} {t.range[1]:.10g}" for t in inputs if t.range is not None}


def find_export(name: str) -> SystemExport:
    """The export of the system called ``name``.

    Raises:
        UnknownExportError: there is none, or more than one; the text lists those that there are.
    """
    others = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    own = name in _own_names()
    if len(others) + own > 1:
        claims = ", ".join([*([PACKAGE] if own else []), *(entry.value for entry in others)])
        raise UnknownExportError(f"the system name {name!r} is claimed more than once ({claims}): uninstall one")
    if others:
        return others[0].load()
    if not own:
        raise UnknownExportError(f"there is no system {name!r} here; there are: {', '.join(export_names()) or 'none'}")
    return importlib.import_module(f"{PACKAGE}.{name}").EXPORT


def export_names() -> list[str]:
    """The names of all systems that can be exported or evaluated, without importing them."""
    return sorted(_own_names() | {entry.name for entry in entry_points(group=GROUP)})


def _own_names() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)}
