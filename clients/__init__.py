"""Clients of a KServe v2 server, such as Triton, over gRPC.

Nothing is imported before it is used, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurips16.clients.async_client import AsyncClient
    from neurips16.clients.client import Client
    from neurips16.clients.codec import ModelConfig, ModelStatus, SequenceStep, TensorInfo
    from neurips16.clients.connection import TLS, Retry, Timeout
    from neurips16.clients.detection import Detection
    from neurips16.clients.errors import ClientError
    from neurips16.clients.generation import ImageCodes, PreferredInput
    from neurips16.clients.premise_index import PremiseIndex
    from neurips16.clients.premises import PremiseRanking, RankedPremise
    from neurips16.clients.prover import ProofResult
    from neurips16.clients.sounds import SoundClass, SoundClassification, SoundTimeline
    from neurips16.clients.statements import Statement

_MODULES = {
    "AsyncClient": "async_client",
    "Client": "client",
    "ClientError": "errors",
    "Detection": "detection",
    "ImageCodes": "generation",
    "ModelConfig": "codec",
    "ModelStatus": "codec",
    "PreferredInput": "generation",
    "PremiseIndex": "premise_index",
    "PremiseRanking": "premises",
    "ProofResult": "prover",
    "RankedPremise": "premises",
    "Retry": "connection",
    "SequenceStep": "codec",
    "SoundClass": "sounds",
    "SoundClassification": "sounds",
    "SoundTimeline": "sounds",
    "Statement": "statements",
    "TLS": "connection",
    "TensorInfo": "codec",
    "Timeout": "connection",
}

__all__ = [
    "TLS",
    "AsyncClient",
    "Client",
    "ClientError",
    "Detection",
    "ImageCodes",
    "ModelConfig",
    "ModelStatus",
    "PreferredInput",
    "PremiseIndex",
    "PremiseRanking",
    "ProofResult",
    "RankedPremise",
    "Retry",
    "SequenceStep",
    "SoundClass",
    "SoundClassification",
    "SoundTimeline",
    "Statement",
    "TensorInfo",
    "Timeout",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
