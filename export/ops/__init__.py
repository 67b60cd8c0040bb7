"""Operators of our own in ONNX, domain ``neurips16``: one folder each, found by looking, listed nowhere.

A folder holds ``__init__.py`` (``SCHEMA``, ``torch_op()``, ``translate()``), ``function.onnxtxt`` (the operator in
standard operators, as ONNX's text format), the native kernels ``cpu.cc`` and ``cuda.cu``, and a reference page. What
kernels have in common is in the headers beside this file. Another package adds such a folder of its own through the
entry-point group ``neurips16.ops``, whose entries name the package; its kernels are a library of its own.

    OpError (ExportError)       an operator is unknown, defined twice, or the native library is not where it should be
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from ..errors import ExportError
from .standard import standard_translations

DOMAIN = "neurips16"
LIBRARY = "libneurips16_ops.so"
GROUP = "neurips16.ops"
LOWEST_OPSET = 17
LIBRARY_VARIABLE = "NEURIPS16_OPS_LIBRARY"  # another build of the library, such as one with sanitizers

__all__ = [
    "DOMAIN",
    "LIBRARY",
    "OpError",
    "custom_translation_table",
    "function_bodies",
    "library_info",
    "library_path",
    "operator_folder",
    "operator_schema",
]


class OpError(ExportError):
    """An operator is unknown, defined twice, or the native library is not where it should be."""

    exit_status = 2


def custom_translation_table() -> dict[Any, Callable[..., Any]]:
    """What ``torch.onnx.export(custom_translation_table=...)`` needs to leave our operators as single nodes.

    Function bodies are attached to the exported model afterwards (`function_bodies`): the exporter's conversion of
    opsets would inline them.
    """
    from onnxscript.values import Op, Opset

    table = {}
    for name, module in _op_modules().items():
        node = Op(Opset(module.SCHEMA.domain, module.SCHEMA.since_version), name, module.SCHEMA)
        table[module.torch_op()] = functools.partial(module.translate, node)
    return {**table, **standard_translations()}


def function_bodies(names: Iterable[str], opset: int = LOWEST_OPSET) -> list[onnx.FunctionProto]:
    """The model-local functions that define operators in standard ONNX.

    Args:
        names: ONNX names, such as ``["PSRoIPool"]``.
        opset: the opset of the model that gets the functions: ONNX wants the same in both.

    Raises:
        OpError: a name is none of our operators, or the opset is below 17, for which the bodies are written.
    """
    if opset < LOWEST_OPSET:
        raise OpError(f"the function bodies need opset {LOWEST_OPSET} or later, the model has {opset}")
    bodies = []
    for name in names:
        text = resources.files(_op_module(name)).joinpath("function.onnxtxt").read_text(encoding="utf-8")
        body = onnx.parser.parse_function(text)
        (standard,) = (entry for entry in body.opset_import if entry.domain == "")
        standard.version = opset  # the bodies use only forms of operators that have not changed since LOWEST_OPSET
        bodies.append(body)
    return bodies


def operator_schema(name: str) -> onnx.defs.OpSchema:
    """Inputs, outputs and attributes of an operator.

    Raises:
        OpError: the name is none of our operators.
    """
    return _op_module(name).SCHEMA


def operator_folder(name: str) -> Path:
    """Where an operator's definitions lie.

    Raises:
        OpError: the name is none of our operators.
    """
    return Path(_op_module(name).__path__[0])


def library_path() -> Path | None:
    """The native library, or None where it was not built (see CMakeLists.txt: a compiler and headers were missing).

    Raises:
        OpError: ``NEURIPS16_OPS_LIBRARY`` is set and names no file.
    """
    if chosen := os.environ.get(LIBRARY_VARIABLE):
        if not Path(chosen).is_file():
            raise OpError(f"{LIBRARY_VARIABLE} is {chosen!r}, which is no file: correct it or unset it")
        return Path(chosen).resolve()
    # An editable install has two folders for this package: the checkout, and the one with what was built.
    return next((path for folder in __path__ if (path := Path(folder, LIBRARY)).is_file()), None)


def library_info() -> dict[str, Any] | None:
    """How the native library was built, or None where there is none.

    Keys: ``providers``, ``headers_api_version`` and ``oldest_api_version`` (of ONNX Runtime), ``compiler``,
    ``cuda_compiler`` (or None), ``cuda_architectures``, ``sanitized``.
    """
    path = library_path()
    return None if path is None else json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def _op_module(name: str) -> ModuleType:
    known = _op_modules()
    if name not in known:
        raise OpError(f"{DOMAIN}::{name} is no operator of ours: there are {', '.join(sorted(known))}")
    return known[name]


@functools.cache
def _op_modules() -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {}
    for module in _found_modules():
        name = module.SCHEMA.name
        if name in modules:
            raise OpError(f"{DOMAIN}::{name} is defined twice, in {modules[name].__name__} and {module.__name__}")
        modules[name] = module
    return modules


def _found_modules() -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(__path__):
        if found.ispkg:  # the native library, too, passes for a module
            yield importlib.import_module(f"{__name__}.{found.name}")
    for entry in entry_points(group=GROUP):
        yield entry.load()
