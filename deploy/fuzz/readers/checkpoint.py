"""A checkpoint of `neurips16 train`, which is a program for Python's unpickler."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import torch
from fuzz.harness import Harness

from neurips16.training.errors import TrainingError
from neurips16.training.system import CHECKPOINT_KEY, load_module


class _Program:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch carried_out",)


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read(data: bytes, folder: Path) -> object:
    """As `neurips16 export` and `evaluate` do."""
    path = folder / "model.ckpt"
    path.write_bytes(data)
    try:
        return load_module(path)
    finally:
        assert not Path("carried_out").exists(), "the file's program was carried out"


def seeds() -> list[bytes]:
    """Good to the header, of no system, of other types, and a program."""
    head = {CHECKPOINT_KEY: {"system": "infogan"}, "hyper_parameters": {}, "state_dict": {"w": torch.zeros(2)}}
    kinds: list[object] = [head, {**head, CHECKPOINT_KEY: {}}, {**head, CHECKPOINT_KEY: None}, [], {CHECKPOINT_KEY: 1}]
    kinds += [{**head, "hyper_parameters": {1: 2}}, {**head, "hyper_parameters": None}, {**head, "state_dict": None}]
    kinds += [{**head, CHECKPOINT_KEY: {"system": "../a"}}, {**head, CHECKPOINT_KEY: {"system": ["a"]}}]
    return [*map(_saved, kinds), pickle.dumps(_Program()), pickle.dumps(head[CHECKPOINT_KEY]), b"", b"PK\3\4"]


HARNESS = Harness(read, (TrainingError,), seeds)
