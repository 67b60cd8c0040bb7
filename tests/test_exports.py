"""Each package's public names: ``__all__`` is what the package hands out, in order and in full."""

from __future__ import annotations

import importlib
import types

import pytest

PACKAGES = ("clients", "export", "serving", "training")


def in_order(name: str) -> tuple[int, str]:
    """The linter's order: constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names(package) -> None:
    module = importlib.import_module(f"neurips16.{package}")
    assert list(module.__all__) == sorted(set(module.__all__), key=in_order)
    for name in module.__all__:
        value = getattr(module, name)
        assert not isinstance(value, types.ModuleType), f"{name} is a module: a name of the package hides behind it"
        home = getattr(value, "__module__", "")
        assert home.startswith((f"neurips16.{package}.", "builtins")) or not callable(value), (name, home)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_else_is_handed_out(package) -> None:
    module = importlib.import_module(f"neurips16.{package}")
    given = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(f"neurips16.{package}")
    }
    assert given <= set(module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018
