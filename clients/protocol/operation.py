"""What both clients do besides IO: run an operation to its end, count attempts, and find out why a model is missing.

An operation (see `messages.Operation`) yields groups of calls. The client performs a group, sends the answers back, or
throws the error into the operation, which may ask further before it gives up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.connection import Connection
from neurips16.clients.protocol.errors import (
    ClientError,
    ModelNotFoundError,
    ModelNotReadyError,
    ServerUnavailableError,
    UnsupportedError,
    from_rpc_error,
)
from neurips16.clients.protocol.messages import Operation, Rpc

T = TypeVar("T")


class Attempts:
    """The attempts at one call: how long the next may take, and whether there is a next."""

    def __init__(self, rpc: Rpc, connection: Connection, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rpc = rpc
        self._connection = connection
        self._clock = clock
        self._started = clock()
        timeout = connection.timeout
        self._limit_s = rpc.timeout_s or (timeout.infer_s if rpc.kind == "infer" else timeout.control_s)
        self._failures = 0

    def remaining_s(self) -> float:
        """What is left of the call's time; never 0, so that gRPC itself reports the passed deadline."""
        return max(1e-3, self._started + self._limit_s - self._clock())

    def delay_s(self, error: grpc.RpcError) -> float:
        """The wait before the next attempt.

        Raises:
            RequestError: there is none; the gRPC error is its cause.
        """
        self._failures += 1
        retry = self._connection.retry
        if (
            error.code() in retry.codes
            and self.rpc.repeatable
            and self._failures < retry.attempts
            and (delay_s := retry.delay_s(self._failures)) < self.remaining_s()
        ):
            return delay_s
        raise from_rpc_error(
            error,
            url=self._connection.url,
            method=self.rpc.method,
            model=self.rpc.model,
            attempts=self._failures,
            elapsed_s=self._clock() - self._started,
        ) from error


def single(rpc: Rpc[T]) -> Operation[T]:
    """The operation that makes one call and returns its answer."""
    (answer,) = yield [rpc]
    return answer


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


def described_models() -> Operation[list[tuple[messages.ModelStatus, messages.ModelConfig | None]]]:
    """Every model version of the server, with the configuration of those that are ready."""
    index = yield from known_models()
    names = sorted({status.name for status in index if status.ready})
    configs = dict(zip(names, (yield [messages.model_config(name) for name in names]), strict=True))
    return [(status, configs[status.name] if status.ready else None) for status in index]
