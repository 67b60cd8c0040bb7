"""Model repositories, as a server is given them and tells of them."""

from __future__ import annotations

from pathlib import Path

from neurips16.serving.errors import RepositoryError
from neurips16.serving.triton.management_client import ModelState


def explain(entry: ModelState) -> str:
    """Why a model version is not ready, on one line."""
    version = f" version {entry.version}" if entry.version else ""
    lines = [line.strip() for line in entry.reason.splitlines() if line.strip()]
    reason = lines[0] if lines else f"the server has it as {entry.state or 'never asked for'}"
    return f"model {entry.model!r}{version} did not load: {reason}"


def check_repository(repository: Path) -> None:
    """Refuse a folder that is no model repository.

    Raises:
        RepositoryError: it does not exist, is no folder, or no folder in it has a config.pbtxt or a version.
    """
    if not repository.is_dir():
        raise RepositoryError(f"{repository} is no folder: name a model repository (MODEL/VERSION/model.onnx in it)")
    for model in repository.iterdir():
        if (model / "config.pbtxt").is_file() or any(version.is_file() for version in model.glob("[0-9]*/model.onnx")):
            return
    raise RepositoryError(
        f"{repository} holds no model: expected MODEL/VERSION/model.onnx in it, as `neurips16 export` writes"
    )
