"""Clients of a KServe v2 server, such as Triton, over gRPC.

What every program needs is here; what a task returns is in the task's own ``calls``. Nothing is imported before it is
used, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurips16.clients.async_client import AsyncClient
    from neurips16.clients.client import Client
    from neurips16.clients.in_process import LocalClient
    from neurips16.clients.protocol.connection import TLS, Retry, Timeout
    from neurips16.clients.protocol.errors import ClientError
    from neurips16.clients.protocol.messages import SequenceStep, new_sequence_id
    from neurips16.clients.protocol.operation import Defer, Each, Emit
    from neurips16.clients.protocol.sequence import Sequence

_MODULES = {
    "AsyncClient": "async_client",
    "Client": "client",
    "ClientError": "protocol.errors",
    "Defer": "protocol.operation",
    "Each": "protocol.operation",
    "Emit": "protocol.operation",
    "LocalClient": "in_process",
    "Retry": "protocol.connection",
    "Sequence": "protocol.sequence",
    "SequenceStep": "protocol.messages",
    "TLS": "protocol.connection",
    "Timeout": "protocol.connection",
    "new_sequence_id": "protocol.messages",
}

__all__ = [
    "TLS",
    "AsyncClient",
    "Client",
    "ClientError",
    "Defer",
    "Each",
    "Emit",
    "LocalClient",
    "Retry",
    "Sequence",
    "SequenceStep",
    "Timeout",
    "new_sequence_id",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("neurips16")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
