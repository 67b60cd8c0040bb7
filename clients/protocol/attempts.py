"""How often one call is tried, and how long that may take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import grpc

from neurips16.clients.protocol.connection import Connection
from neurips16.clients.protocol.errors import InvalidInputError, from_rpc_error
from neurips16.clients.protocol.messages import Rpc


def deadline_of(timeout_s: float | None, *, clock: Callable[[], float] = time.monotonic) -> float:
    """When an operation that may take so long has to be through, by the clock; infinity for None.

    Raises:
        InvalidInputError: the time is not over 0.
    """
    if timeout_s is None:
        return math.inf
    if not timeout_s > 0:
        raise InvalidInputError(f"timeout_s is a number of seconds over 0, got {timeout_s}")
    return clock() + timeout_s


class Attempts:
    """The attempts at one call: how long the next may take, and whether there is a next.

    Args:
        rpc: the call.
        connection: its time limits hold, unless the operation has a deadline of its own.
        deadline: of the whole operation; see `deadline_of`.
        clock: seconds.
    """

    def __init__(
        self,
        rpc: Rpc,
        connection: Connection,
        *,
        deadline: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rpc = rpc
        self._connection = connection
        self._clock = clock
        self._started = clock()
        timeout = connection.timeout
        limit_s = timeout.infer_s if rpc.kind == "infer" else timeout.control_s
        self._deadline = self._started + limit_s if deadline == math.inf else deadline
        self._failures = 0

    def remaining_s(self) -> float:
        """What is left of the call's time; never 0, so that gRPC itself reports the passed deadline."""
        return max(1e-3, self._deadline - self._clock())

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
