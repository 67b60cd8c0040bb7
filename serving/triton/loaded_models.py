"""What a server had loaded, as its backend wrote it down: for the server that takes its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from tritonclient.grpc.model_config_pb2 import ModelConfig


@dataclass(frozen=True)
class LoadedModel:
    """A model that the server had loaded.

    Attributes:
        name: the model's.
        config: its configuration, as the server completed it.
        files: the folder of the files that came with the call, None where they are the repository's.
        noted: whether our backend wrote it down; else the server was asked.
    """

    name: str
    config: Mapping[str, Any]
    files: Path | None
    noted: bool = True

    @classmethod
    def of(cls, config: ModelConfig) -> LoadedModel:
        """A model that is not our backend's, of the configuration that the server told."""
        return cls(config.name, MessageToDict(config, preserving_proto_field_name=True), None, noted=False)

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


def differing(loaded: Iterable[LoadedModel], configs: Mapping[str, Mapping[str, Any]]) -> list[LoadedModel]:
    """Those whose files, or configuration, are not what the repository has.

    Args:
        loaded: what there was.
        configs: the configuration that each model had when it was loaded from the repository.
    """
    return [one for one in loaded if one.files is not None or configs.get(one.name) != one.config]
