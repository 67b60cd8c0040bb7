"""From a trained module to a published, self-describing ONNX model.

The names below are loaded when they are first used: `neurips16.export.spec` alone must cost neither torch nor ONNX
Runtime, since serving reads specifications where neither is installed. `publish.publish` is not among them: the name is
its module's.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# From 1.32 on, ONNX Runtime keeps a file of events in the home folder, and sends them to its makers. It reads this when
# it is imported; who wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from neurips16.export.errors import (
        EvaluationError,
        ExportError,
        OperatorError,
        ParityError,
        PublishError,
        SessionError,
        SignatureError,
        UnknownExportError,
    )
    from neurips16.export.graph.exporter import export_module
    from neurips16.export.parity.check import check_parity
    from neurips16.export.parity.report import ParityReport, check_metrics
    from neurips16.export.registry import ExportedModel, SystemExport, Target, find_export
    from neurips16.export.session import make_session
    from neurips16.export.spec import (
        EXACT,
        MetricGate,
        ModelSpec,
        Op,
        SpecError,
        StateSpec,
        TensorSpec,
        Tolerance,
        embed_spec,
        read_spec,
    )
    from neurips16.export.station import Station, open_station

_MODULES = {
    "EXACT": "spec",
    "EvaluationError": "errors",
    "ExportError": "errors",
    "ExportedModel": "registry",
    "MetricGate": "spec",
    "ModelSpec": "spec",
    "Op": "spec",
    "OperatorError": "errors",
    "ParityError": "errors",
    "ParityReport": "parity.report",
    "PublishError": "errors",
    "SessionError": "errors",
    "SignatureError": "errors",
    "SpecError": "spec",
    "StateSpec": "spec",
    "Station": "station",
    "SystemExport": "registry",
    "Target": "registry",
    "TensorSpec": "spec",
    "Tolerance": "spec",
    "UnknownExportError": "errors",
    "check_metrics": "parity.report",
    "check_parity": "parity.check",
    "embed_spec": "spec",
    "export_module": "graph.exporter",
    "find_export": "registry",
    "make_session": "session",
    "open_station": "station",
    "read_spec": "spec",
}

__all__ = [
    "EXACT",
    "EvaluationError",
    "ExportError",
    "ExportedModel",
    "MetricGate",
    "ModelSpec",
    "Op",
    "OperatorError",
    "ParityError",
    "ParityReport",
    "PublishError",
    "SessionError",
    "SignatureError",
    "SpecError",
    "StateSpec",
    "Station",
    "SystemExport",
    "Target",
    "TensorSpec",
    "Tolerance",
    "UnknownExportError",
    "check_metrics",
    "check_parity",
    "embed_spec",
    "export_module",
    "find_export",
    "make_session",
    "open_station",
    "read_spec",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
