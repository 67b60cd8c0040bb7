"""Clients of a KServe v2 server, such as Triton, over gRPC.

Nothing is imported before it is used, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurips16.clients.async_client import AsyncClient
    from neurips16.clients.client import Client
    from neurips16.clients.protocol.connection import TLS, Retry, Timeout
    from neurips16.clients.protocol.errors import ClientError
    from neurips16.clients.protocol.messages import (
        ModelConfig,
        ModelStatus,
        SequenceStep,
        TensorInfo,
        new_sequence_id,
    )
    from neurips16.clients.tasks.classify_sound.calls import SoundClass, SoundClassification, SoundTimeline
    from neurips16.clients.tasks.detect.calls import Detection
    from neurips16.clients.tasks.generate.calls import ImageCodes, PreferredInput
    from neurips16.clients.tasks.rank_premises.calls import PremiseRanking, RankedPremise
    from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex
    from neurips16.clients.tasks.rank_premises.prover import ProofResult
    from neurips16.clients.tasks.rank_premises.statements import Statement

_MODULES = {
    "AsyncClient": "async_client",
    "Client": "client",
    "ClientError": "protocol.errors",
    "Detection": "tasks.detect.calls",
    "ImageCodes": "tasks.generate.calls",
    "ModelConfig": "protocol.messages",
    "ModelStatus": "protocol.messages",
    "PreferredInput": "tasks.generate.calls",
    "PremiseIndex": "tasks.rank_premises.premise_index",
    "PremiseRanking": "tasks.rank_premises.calls",
    "ProofResult": "tasks.rank_premises.prover",
    "RankedPremise": "tasks.rank_premises.calls",
    "Retry": "protocol.connection",
    "SequenceStep": "protocol.messages",
    "SoundClass": "tasks.classify_sound.calls",
    "SoundClassification": "tasks.classify_sound.calls",
    "SoundTimeline": "tasks.classify_sound.calls",
    "Statement": "tasks.rank_premises.statements",
    "TLS": "protocol.connection",
    "TensorInfo": "protocol.messages",
    "Timeout": "protocol.connection",
    "new_sequence_id": "protocol.messages",
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
    "new_sequence_id",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
