"""From a trained module to a published, self-describing ONNX model.

The names below are loaded when they are first used: `neurips16.export.spec` alone must cost neither torch nor ONNX
Runtime, since serving reads specifications where neither is installed.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "errors": ("ExportError", "OperatorError", "ParityError", "PublishError", "SessionError", "SignatureError"),
    "exporter": ("export_module",),
    "parity": ("check_parity",),
    "registry": ("ExportedModel", "Station", "System", "register"),
    "report": ("ParityReport", "check_metrics"),
    "session": ("make_session",),
    "spec": (
        "EXACT",
        "MetricGate",
        "ModelSpec",
        "Op",
        "SpecError",
        "StateSpec",
        "TensorSpec",
        "Tolerance",
        "embed_spec",
        "read_spec",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
