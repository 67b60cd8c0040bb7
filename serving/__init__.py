"""Serving: runs NVIDIA Triton, from pip, on a model repository."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurips16.serving.errors import ServingError
    from neurips16.serving.triton.server import TritonServer
    from neurips16.serving.triton.tls import ServerTLS

_HOMES = {"ServerTLS": "triton.tls", "ServingError": "errors", "TritonServer": "triton.server"}

__all__ = ["ServerTLS", "ServingError", "TritonServer"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
