"""The packages' import rule: the interfaces between packages are files and a wire protocol, never Python objects."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "neurips16"
SHARED = "neurips16.export.spec"

# package -> what it may import of us, beside itself
ALLOWED = {
    "training": [],
    "clients": [],
    "export": ["neurips16.training", "neurips16.clients"],
    "serving": [SHARED],
}
# The server's stub runs these with an interpreter that does not know an editable installation of ours.
SELF_CONTAINED = ROOT / "serving" / "backends"


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((PACKAGE, *parts)).removesuffix(".__init__")


def imported(source: str, name: str, *, is_package: bool) -> Iterator[str]:
    """Every module, or name of a module, that the source of module ``name`` imports, at any depth of its code."""
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join((*base, alias.name)) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))


def within(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + ".")


def violations(source: str, name: str, *, is_package: bool = False) -> list[str]:
    package = name.split(".")[1]
    allowed = [f"{PACKAGE}.{package}", *ALLOWED[package]]
    wrong = [
        target
        for target in imported(source, name, is_package=is_package)
        if within(target, PACKAGE) and not any(within(target, one) for one in allowed)
    ]
    if package == "clients":
        wrong += [t for t in imported(source, name, is_package=is_package) if within(t, "torch")]
    return wrong


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_the_rule_allows(package) -> None:
    paths = modules(package)
    assert paths
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in paths
        if (wrong := violations(path.read_text("utf-8"), module_name(path), is_package=path.name == "__init__.py"))
    }
    assert found == {}


def cycles(edges: dict[str, set[str]]) -> list[str]:
    """The modules that import themselves by way of others, at any depth of their code."""
    reached = {name: set(targets) for name, targets in edges.items()}
    while True:
        further = {name: set().union(seen, *(reached[one] for one in seen)) for name, seen in reached.items()}
        if further == reached:
            return sorted(name for name, seen in reached.items() if name in seen)
        reached = further


@pytest.mark.parametrize("package", ["training", "export"])
def test_no_module_imports_itself_by_way_of_others(package) -> None:
    paths = {module_name(path): path for path in modules(package)}
    edges: dict[str, set[str]] = {}
    for name, path in paths.items():
        targets = set(imported(path.read_text("utf-8"), name, is_package=path.name == "__init__.py"))
        targets = {target if target in paths else target.rpartition(".")[0] for target in targets}
        edges[name] = targets & set(paths) - {name}
    assert cycles(edges) == []


def test_a_cycle_is_seen() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]


def test_the_backend_that_the_server_runs_imports_nothing_of_ours() -> None:
    for path in SELF_CONTAINED.rglob("*.py"):
        ours = [t for t in imported(path.read_text("utf-8"), module_name(path), is_package=False) if within(t, PACKAGE)]
        assert ours == [], path


@pytest.mark.parametrize(
    ("name", "source", "wrong"),
    [
        ("neurips16.training.x", "import neurips16.clients.client", ["neurips16.clients.client"]),
        ("neurips16.training.x", "from ..export import spec", ["neurips16.export.spec"]),
        ("neurips16.training.x", "from .layers import conv\nimport torch", []),
        ("neurips16.clients.x", "def f():\n    from torch import nn", ["torch.nn"]),
        (
            "neurips16.clients.x",
            "import_module('neurips16.serving.triton')",
            ["neurips16.serving.triton"],
        ),
        ("neurips16.serving.x", "from neurips16.export.spec import ModelSpec", []),
        ("neurips16.serving.x", "from neurips16.export import spec", []),
        ("neurips16.serving.x", "from neurips16.export.publish import publish", ["neurips16.export.publish.publish"]),
        ("neurips16.serving.x", "import neurips16.clients", ["neurips16.clients"]),
        (
            "neurips16.export.x",
            "from neurips16.training.systems.deepmath.network import A\nfrom neurips16.clients import B",
            [],
        ),
        ("neurips16.export.x", "import neurips16.serving", ["neurips16.serving"]),
        (
            "neurips16.export.ops.y",
            "from ...serving import triton\nfrom ..spec import Op",
            ["neurips16.serving.triton"],
        ),
    ],
)
def test_the_rule_sees_what_breaks_it(name, source, wrong) -> None:
    assert violations(source, name) == wrong


def run_without(missing: list[str], code: str) -> None:
    """Run ``code`` in an interpreter in which the packages ``missing`` cannot be imported."""
    block = f"import sys\nfor name in {missing!r}:\n    sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_door_needs_neither_torch_nor_a_runtime() -> None:
    run_without(
        ["torch", "onnx", "onnxruntime", "onnxscript", "tritonclient", "google.protobuf"],
        "import neurips16.export\nfrom neurips16.export.spec import read_spec\nassert neurips16.export.ModelSpec",
    )


def test_every_module_of_the_clients_works_without_torch() -> None:
    names = [module_name(path) for path in modules("clients") if path.name != "__main__.py"]  # that runs the command
    run_without(
        ["torch", "lightning", "onnx", "onnxruntime"],
        f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)",
    )


def test_writing_a_repository_needs_no_torch() -> None:
    run_without(["torch", "onnxruntime"], "import neurips16.serving.repository, neurips16.serving.release")


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_itself_costs_nothing(package) -> None:
    heavy = ["torch", "lightning", "onnx", "onnxruntime", "grpc", "tritonclient", "numpy"]
    run_without(heavy, f"import neurips16.{package}")
