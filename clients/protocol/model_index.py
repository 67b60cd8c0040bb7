"""Which models a server has, and why one that was asked for is not among them."""

from __future__ import annotations

import contextlib
from typing import TypeVar

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import (
    ClientError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerUnavailableError,
    UnsupportedError,
)
from neurips16.clients.protocol.operation import Operation

T = TypeVar("T")


def known_models() -> Operation[list[messages.ModelStatus]]:
    """Every model of the repository; the loaded ones only, where the index is for who has the admin token."""
    try:
        (index,) = yield [messages.models()]
    except ServerUnavailableError as error:
        try:
            (index,) = yield [messages.loaded_models()]
        except UnsupportedError:  # a server that keeps no statistics, either
            raise error from None
    return index


def explained(operation: Operation[T]) -> Operation[T]:
    """``operation``, but where a model is not there the error says whether the server knows it, and which it has."""
    try:
        return (yield from operation)
    except (ModelNotFoundError, ServerUnavailableError) as error:
        index = None
        if error.model:
            # Where the server is down, or keeps no index, the first error stands.
            with contextlib.suppress(ClientError):
                index = yield from known_models()
        if index is None:
            raise
        states = [status for status in index if status.name == error.model]
        if not states and isinstance(error, ModelNotFoundError):
            ready = sorted({status.name for status in index if status.ready})
            loaded = f"it has {', '.join(ready)}" if ready else "it has no model loaded"
            raise ModelNotFoundError(
                f"the server has no model {error.model!r}: {loaded}", code=error.code, model=error.model
            ) from error
        if states and not any(status.ready for status in states):
            reason = next((status.reason for status in states if status.reason), "it was not asked to load it")
            raise ModelNotReadyError(
                f"the server has model {error.model!r}, but not loaded: {reason}", code=error.code, model=error.model
            ) from error
        raise


def described_models() -> Operation[list[tuple[messages.ModelStatus, messages.ModelConfig | None]]]:
    """Every model version of the server, with the configuration of those that are ready."""
    index = yield from known_models()
    names = sorted({status.name for status in index if status.ready})
    configs = dict(zip(names, (yield [messages.model_config(name) for name in names]), strict=True))
    return [(status, configs[status.name] if status.ready else None) for status in index]
