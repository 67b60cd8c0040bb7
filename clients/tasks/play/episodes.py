"""Environments that are installed, and episodes in them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from neurips16.clients.protocol.errors import InvalidInputError


def make_environment(name: str) -> Any:
    """An environment that draws itself, by Gymnasium's name for it.

    Packages say in the entry-point group ``gymnasium.envs`` which environments they have; Gymnasium 1.0 and later asks
    none of them, so they are asked here.

    Raises:
        InvalidInputError: it cannot be made, or Gymnasium is not installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise InvalidInputError("environments need Gymnasium: pip install gymnasium") from error
    if name not in gymnasium.registry:
        for entry in entry_points(group="gymnasium.envs"):
            entry.load()()
    try:
        return gymnasium.make(name, render_mode="rgb_array")
    except gymnasium.error.Error as error:
        raise InvalidInputError(f"the environment {name} cannot be made: {error}") from error
