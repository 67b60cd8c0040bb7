"""The options of evaluations: words of the command line, and the numbers in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from neurips16.export.errors import EvaluationError
from neurips16.export.registry import SystemExport


def parse_options(words: Sequence[str], system: SystemExport) -> dict[str, str]:
    """``--name value`` pairs that a system's evaluation understands.

    Raises:
        EvaluationError: a name is not among the system's options, or has no value; the text lists them.
    """
    known = "; ".join(f"--{name} ({what})" for name, what in system.options.items()) or "none"
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        name = rest.pop(0)
        if not name.startswith("--") or name[2:].split("=")[0] not in system.options:
            raise EvaluationError(f"{system.name} has no evaluation option {name!r}; it has: {known}")
        if "=" in name:
            name, value = name.split("=", 1)
        elif rest:
            value = rest.pop(0)
        else:
            raise EvaluationError(f"{name} needs a value: {system.options[name[2:]]}")
        options[name[2:]] = value
    return options


def positive_integer(options: Mapping[str, str], name: str, default: int | None = None) -> int:
    """An option of an evaluation that is a whole number over 0.

    Raises:
        EvaluationError: it is something else.
    """
    text = options.get(name, str(default)).strip()
    if not text.isdecimal() or int(text) < 1:
        raise EvaluationError(f"--{name}: expected a number over 0, got {text!r}")
    return int(text)


def spread(length: int, count: int) -> np.ndarray:
    """``count`` places of ``length``, evenly spaced; all of them where there are no more."""
    return np.linspace(0, length - 1, min(length, count)).round().astype(int)
