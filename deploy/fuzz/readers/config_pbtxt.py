"""Triton's configuration of a model."""

from __future__ import annotations

from pathlib import Path

from fuzz.harness import Harness
from fuzz.readers.spec_json import small_spec

from neurips16.serving.errors import RepositoryError
from neurips16.serving.repository import config_for, read_config, render


def read(data: bytes, folder: Path) -> object:
    """As the server's start does."""
    path = folder / "config.pbtxt"
    path.write_bytes(data)
    return read_config(path)


def seeds() -> list[bytes]:
    """One of ours, and text formats that have broken parsers before."""
    nested = "ensemble_scheduling { step { " * 200
    return [render(config_for(small_spec())).encode(), b'name: "a"', b"\xff", b"", nested.encode(), b"[a.b]: 1"]


HARNESS = Harness(read, (RepositoryError,), seeds)
