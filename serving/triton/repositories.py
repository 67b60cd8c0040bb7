"""Model repositories, as a server is given them and tells of them."""

from __future__ import annotations

import logging
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from neurips16.serving.repository import model_folders
from neurips16.serving.triton.management_client import ModelState

logger = logging.getLogger("neurips16.serving.triton.repositories")


def explain(entry: ModelState) -> str:
    """Why a model version is not ready, on one line."""
    version = f" version {entry.version}" if entry.version else ""
    lines = [line.strip() for line in entry.reason.splitlines() if line.strip()]
    reason = lines[0] if lines else f"the server has it as {entry.state or 'never asked for'}"
    return f"model {entry.model!r}{version} did not load: {reason}"


def check_repository(repository: Path) -> None:
    """Refuse a folder that is no model repository; what in it is no model is named, and then passed over.

    Raises:
        RepositoryError: it does not exist, is no folder, or no folder in it is a model.
    """
    models = model_folders(repository)
    others = sorted(path.name for path in repository.iterdir() if path not in models)
    if others:
        logger.info("%s: no models, and passed over: %s", repository, ", ".join(ascii(name) for name in others))


def assumed(config: ModelConfig) -> str:
    """What the server took from a model's file, for want of a configuration, on one line."""
    tensors = (
        f"{tensor.name} {DataType.Name(tensor.data_type).removeprefix('TYPE_')} {list(tensor.dims)}"
        for tensor in (*config.input, *config.output)
    )
    batching = f"batches of up to {config.max_batch_size}" if config.max_batch_size else "no batching"
    return (
        f"model {config.name!r} has no config.pbtxt; assumed from its file: {batching}; {'; '.join(tensors)} "
        "(-1: any length). Write a config.pbtxt to say otherwise"
    )
