from __future__ import annotations

import importlib.metadata
import sys
import types
from pathlib import Path

import pytest

from neurips16.export import registry
from neurips16.export.errors import SystemRegistryError
from neurips16.export.registry import Station, System, get, names, register


@pytest.fixture(autouse=True)
def _own_systems(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_systems", {})


def system(name: str) -> System:
    return System(name, models=lambda checkpoint, data: [], evaluate=lambda station, data, split: {})


def test_a_system_is_found_by_name() -> None:
    one = register(system("one"))
    assert get("one") is one
    assert register(one) is one  # the same one again is nothing new


def test_a_name_is_given_once() -> None:
    register(system("one"))
    with pytest.raises(SystemRegistryError, match=r"two systems are called 'one'.*rename"):
        register(system("one"))


def test_an_unknown_name_says_which_there_are(monkeypatch) -> None:
    register(system("alpha"))
    monkeypatch.setattr(registry.pkgutil, "iter_modules", lambda path: [])
    with pytest.raises(SystemRegistryError, match=r"no system 'beta'; there are: alpha$"):
        get("beta")
    with pytest.raises(SystemRegistryError, match="no system"):
        get("../beta")
    with pytest.raises(SystemRegistryError, match="no system"):
        get("spec")  # a module of the room that is no system


def test_asking_imports_the_module_of_that_name_only(monkeypatch) -> None:
    module = types.ModuleType("neurips16.export.systems.gamma")
    module.__spec__ = importlib.machinery.ModuleSpec("neurips16.export.systems.gamma", None)
    monkeypatch.setitem(sys.modules, "neurips16.export.systems.gamma", module)
    imported = []

    def fake_import(name: str) -> types.ModuleType:
        imported.append(name)
        register(system(name.rpartition(".")[2]))
        return module

    monkeypatch.setattr(registry.importlib, "import_module", fake_import)
    assert get("gamma").name == "gamma"
    assert imported == ["neurips16.export.systems.gamma"]


def test_a_user_s_package_adds_a_system_by_entry_point(monkeypatch) -> None:
    module = types.ModuleType("users_package")
    module.SYSTEM = system("theirs")
    monkeypatch.setitem(sys.modules, "users_package", module)
    entry = importlib.metadata.EntryPoint("theirs", "users_package:SYSTEM", registry.GROUP)

    class Entry:
        name = "theirs"

        def load(self) -> None:
            register(entry.load())

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()] if group == registry.GROUP else [])
    assert get("theirs") is module.SYSTEM
    monkeypatch.setattr(registry.pkgutil, "iter_modules", lambda path: [])
    assert names() == ["theirs"]


@pytest.mark.parametrize("given", [{}, {"url": "a:1", "model": Path("m")}])
def test_a_station_is_one_place(given) -> None:
    with pytest.raises(SystemRegistryError, match="name one of"):
        Station(**given)
    assert Station(url="a:1").checkpoint is None
