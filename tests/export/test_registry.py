from __future__ import annotations

import importlib.metadata
import sys
import types

import pytest

from neurips16.export import registry
from neurips16.export.errors import UnknownExportError
from neurips16.export.registry import SystemExport, export_names, find_export


def theirs(monkeypatch, *names: str) -> SystemExport:
    """Another package's export, under each of the names."""
    module = types.ModuleType("their_package")
    module.EXPORT = SystemExport(names[0], lambda target, data, split, options: {})
    monkeypatch.setitem(sys.modules, "their_package", module)
    entries = [importlib.metadata.EntryPoint(name, "their_package:EXPORT", registry.GROUP) for name in names]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == registry.GROUP else [])
    return module.EXPORT


def test_the_systems_of_the_folder_are_found_by_name() -> None:
    assert find_export("soundnet").name == "soundnet"
    assert {"deepmath", "rfcn", "soundnet"} <= set(export_names())


def test_listing_imports_no_system(monkeypatch) -> None:
    monkeypatch.setattr(registry.importlib, "import_module", lambda name: sys.modules[name])
    for name in [name for name in sys.modules if name.startswith(f"{registry.PACKAGE}.")]:
        monkeypatch.delitem(sys.modules, name)
    assert "rfcn" in export_names()


@pytest.mark.parametrize("name", ["beta", "../beta", "spec", ""])
def test_an_unknown_name_says_which_there_are(name) -> None:
    with pytest.raises(UnknownExportError, match=r"there is no system .*; there are: deepmath, "):
        find_export(name)


def test_another_package_adds_a_system_by_an_entry_point(monkeypatch) -> None:
    export = theirs(monkeypatch, "theirs")
    assert find_export("theirs") is export
    assert "theirs" in export_names()


@pytest.mark.parametrize("names", [["rfcn"], ["theirs", "theirs"]])
def test_a_name_is_given_once(monkeypatch, names) -> None:
    theirs(monkeypatch, *names)
    with pytest.raises(UnknownExportError, match=r"claimed more than once \(.*their_package:EXPORT"):
        find_export(names[0])
