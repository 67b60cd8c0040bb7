"""What the tests of deploy/ share: its files, and the command line of Triton in them."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/neurips16"
ALERTS = CHART / "monitoring/alerts.yaml"
DASHBOARD = CHART / "monitoring/dashboard.json"
COMPOSE = DEPLOY / "compose/compose.yaml"
MODEL = "premise_encoder"  # the shipped model that the real server has
DIGEST = f"sha256:{'0' * 64}"  # of the image, which the chart must be given
TOKEN = "an-admin-token-of-the-tests"


def load(path: Path) -> dict:
    """The one document of a YAML file."""
    return yaml.safe_load(path.read_text())


def load_module(path: Path) -> ModuleType:
    """A program of deploy/ as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


def find_program(name: str, how: str) -> str:
    """A program of this environment or of the system; the test is skipped without it."""
    program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not here: {how}")
    return program


def options(arguments: Sequence[str]) -> dict[str, str]:
    """The options of a command line by name; one that is given twice is an error.

    A backend's own option has a name of the form ``backend-config=BACKEND,NAME``.
    """
    pairs = [
        argument.removeprefix("--").rsplit("=", 1) if "backend-config" in argument else argument[2:].split("=", 1)
        for argument in arguments
    ]
    assert len({name for name, _ in pairs}) == len(pairs), arguments
    return dict(pairs)


def restriction(option: str) -> tuple[set[str], str]:
    """What is restricted, and the header that opens it, of `PROTOCOL,...:HEADER=TOKEN`."""
    protocols, key = option.split(":", 1)
    return set(protocols.split(",")), key.split("=", 1)[0]


def container(manifests: Sequence[dict]) -> dict:
    """The container of the chart's Deployment."""
    return one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def one(manifests: Sequence[dict], kind: str) -> dict:
    """The only manifest of a kind."""
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
