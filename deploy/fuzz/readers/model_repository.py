"""A model folder with a foreign model.onnx, as `neurips16 serve` prepares it: configuration and labels are written."""

from __future__ import annotations

import shutil
from pathlib import Path

from fuzz.harness import Harness
from fuzz.readers.onnx_metadata import seeds

from neurips16.serving.errors import RepositoryError
from neurips16.serving.repository import prepare


def read(data: bytes, folder: Path) -> object:
    """As the server's start does."""
    repository = folder / "models"
    shutil.rmtree(repository, ignore_errors=True)
    version = repository / "small/1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(data)
    return prepare(repository)


HARNESS = Harness(read, (RepositoryError,), seeds)
