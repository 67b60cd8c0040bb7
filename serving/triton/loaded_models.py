"""What a server had loaded, as its backend wrote it down: for the server that takes its place."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurips16.serving.triton.management_client import ControlError, ServerControl

logger = logging.getLogger("neurips16.serving.triton.loaded_models")


@dataclass(frozen=True)
class LoadedModel:
    """A model that the server had loaded.

    Attributes:
        name: the model's.
        config: its configuration, as the server completed it.
        files: the folder of the files that came with the call, None where they are the repository's.
    """

    name: str
    config: Mapping[str, Any]
    files: Path | None

    def call_parameters(self) -> tuple[str, dict[str, bytes]]:
        """The configuration and the files of a load call that brings it back."""
        if self.files is None:
            return json.dumps(self.config), {}
        found = {
            f"file:{path.relative_to(self.files)}": path.read_bytes()
            for path in sorted(self.files.rglob("*"))
            if path.is_file()
        }
        return json.dumps(self.config), found


def read_loaded(folder: Path) -> dict[str, LoadedModel]:
    """What the backend wrote down in ``folder``: the latest record of each model."""
    found: dict[str, LoadedModel] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        try:
            record = json.loads(path.read_text())
        except (OSError, ValueError):  # unloaded at this moment, or cut off by the crash
            continue
        files = path.with_suffix("")
        found[record["model"]] = LoadedModel(record["model"], record["config"], files if files.is_dir() else None)
    return found


def bring_back(loaded: Iterable[LoadedModel], folder: Path, control: ServerControl) -> None:
    """Load again what an admin had loaded with a configuration or files of the call's own.

    Args:
        loaded: what there was.
        folder: where the backend notes what it loads from the repository now.
        control: of the server. A model that does not load is said in the log.
    """
    configs = {name: model.config for name, model in read_loaded(folder).items()}
    for model in loaded:
        if model.files is not None or configs.get(model.name) != model.config:
            try:
                control.load(model.name, *model.call_parameters())
            except ControlError as error:
                logger.error("model %r is not what was loaded before: %s", model.name, error)
