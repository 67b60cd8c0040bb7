"""Writes clients/calls.pyi, from which editors know the clients' methods: `make stub`, after a task has changed.

Signatures and docstrings are those of the operations that the manifests name; nothing is written by hand.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neurips16.clients.calls import method_signature
from neurips16.clients.tasks import found_tasks

ROOT = Path(__file__).parents[1]
STUB = ROOT / "clients/calls.pyi"
OURS = "neurips16.clients.tasks."


def stub() -> str:
    """The text of the stub for the tasks of this package."""
    calls = sorted(
        (name, task.load(reference))
        for task in found_tasks()
        if task.package.startswith(OURS)
        for name, reference in task.calls.items()
    )
    imports = {
        "from collections.abc import Callable",
        "from typing import Any",
        "import inspect",
        *(line for _, operation in calls for line in _imports(operation)),
    }
    parts = [
        "# Written by `make stub` from the tasks' manifests: do not edit.",
        "\n".join(sorted(imports)),
        "def method_signature(operation: Callable[..., Any]) -> inspect.Signature: ...",
        "class TaskCalls:\n" + "\n".join(_method(name, operation, "def") for name, operation in calls),
        "class AsyncTaskCalls:\n" + "\n".join(_method(name, operation, "async def") for name, operation in calls),
    ]
    return "\n\n".join(parts) + "\n"


def _method(name: str, operation: Callable[..., Any], keyword: str) -> str:
    signature = method_signature(operation)
    parts, keywords_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords_only:
            parts.append("*")
            keywords_only = True
        text = parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {parameter.annotation}"
        if parameter.default is not parameter.empty:
            text += f" = {parameter.default!r}"
        parts.append(text)
    result = signature.return_annotation
    doc = textwrap.indent(f'"""{inspect.getdoc(operation)}\n"""', "        ")
    return f"    {keyword} {name}({', '.join(parts)}) -> {result}:\n{doc}\n        ...\n"


def _imports(operation: Callable[..., Any]) -> Iterator[str]:
    """What has to be imported for the annotations of a function: as its module does, or from its module."""
    module = inspect.getmodule(operation)
    assert module is not None
    known = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom):
            known |= {alias.name: f"from {node.module} import {alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            known |= {
                alias.asname or alias.name: f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
                for alias in node.names
            }
    signature = method_signature(operation)
    annotations = [str(p.annotation) for p in signature.parameters.values() if p.annotation is not p.empty]
    for annotation in (*annotations, signature.return_annotation):
        for node in ast.walk(ast.parse(annotation)):
            if isinstance(node, ast.Name) and not hasattr(builtins, node.id):
                yield known.get(node.id, f"from {module.__name__} import {node.id}")


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
