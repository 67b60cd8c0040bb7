"""The client for ordinary programs: it blocks, and its methods may be called from any number of threads."""

from __future__ import annotations

import heapq
import queue
import time
from collections.abc import Generator, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import grpc
from tritonclient.grpc import service_pb2_grpc

from neurips16.clients.calls import TaskCalls
from neurips16.clients.protocol.attempts import Attempts, deadline_of
from neurips16.clients.protocol.connection import TLS, Connection, Retry, Timeout
from neurips16.clients.protocol.errors import ClientClosedError, ClientError, ServerUnavailableError
from neurips16.clients.protocol.messages import Rpc
from neurips16.clients.protocol.model_index import explained
from neurips16.clients.protocol.operation import Operation, Reply, Stream
from neurips16.clients.protocol.tls_diagnosis import explain_unavailable

T = TypeVar("T")


class Client(TaskCalls):
    """Talks to a KServe v2 server, such as Triton, over gRPC.

    Args:
        url: HOST:PORT of the gRPC port, or grpcs://HOST:PORT for TLS; else ``NEURIPS16_URL``, else localhost:8001.
        timeout: the time limits of the calls; there always is one.
        retry: how often UNAVAILABLE is tried again.
        tls: certificates; else the ``NEURIPS16_TLS_…`` variables.
        headers: sent with every call; else ``authorization`` from ``NEURIPS16_AUTHORIZATION``, over TLS or to this
            machine only.
        max_in_flight: how many requests of one operation are under way at the same time.
        max_message_bytes: the largest message, both ways; else ``NEURIPS16_MAX_MESSAGE_BYTES``, else 256 MiB.

    Raises:
        InvalidInputError: an argument cannot be used. The server is asked nothing yet.

    Besides `run` and `stream` it has a method for each call of each task, such as ``infer``, ``models`` and ``detect``:
    ``dir(client)`` lists them. Each takes ``timeout_s``, and raises what `neurips16.clients.protocol.errors` draws.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: Timeout | None = None,
        retry: Retry | None = None,
        tls: TLS | None = None,
        headers: Mapping[str, str] | None = None,
        max_in_flight: int = 4,
        max_message_bytes: int | None = None,
    ) -> None:
        self.connection = Connection.of(
            url,
            timeout=timeout,
            retry=retry,
            tls=tls,
            headers=headers,
            max_in_flight=max_in_flight,
            max_message_bytes=max_message_bytes,
        )
        self._channel = self.connection.channel(grpc)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._closed = False

    def run(self, operation: Operation[T], *, timeout_s: float | None = None) -> T:
        """Perform an operation, see `neurips16.clients.protocol.operation`, and return its result.

        Args:
            operation: asks for calls and is sent their answers.
            timeout_s: for all of it together, in place of the time limits of its calls.
        """
        stream = self.stream(operation, timeout_s=timeout_s)
        for _ in stream:
            pass
        return stream.result

    def stream(self, operation: Operation[T], *, timeout_s: float | None = None) -> Stream[T]:
        """Perform an operation while its partial results are taken: ``for character in client.stream(…)``."""
        return Stream(explained(operation), partial(self._perform, deadline=deadline_of(timeout_s)))

    def close(self) -> None:
        """End the connection; calls under way fail."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _perform(self, calls: Iterable[Rpc], *, deadline: float) -> Generator[Reply, None, None]:
        """The replies to a group of calls as they arrive, a bounded number of them under way at the same time.

        The calling thread is the only one: replies and waits before further attempts are events in its queue, so an
        error, or Ctrl-C, ends what is under way at once.
        """
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        flying: dict[Any, tuple[int, Attempts]] = {}
        waiting: list[tuple[float, int, Attempts]] = []  # a heap by the time of the next attempt
        todo = enumerate(calls)
        try:
            while True:
                while waiting and waiting[0][0] <= time.monotonic():
                    _, place, attempts = heapq.heappop(waiting)
                    flying[self._send(attempts, arrived)] = place, attempts
                while len(flying) + len(waiting) < self.connection.max_in_flight and (item := next(todo, None)):
                    attempts = Attempts(item[1], self.connection, deadline=deadline)
                    flying[self._send(attempts, arrived)] = item[0], attempts
                if not flying and not waiting:
                    return
                try:
                    call = arrived.get(timeout=max(0.0, waiting[0][0] - time.monotonic()) if waiting else None)
                except queue.Empty:
                    continue
                place, attempts = flying.pop(call)
                try:
                    reply = Reply(place, attempts.rpc.decode(call.result()))
                except grpc.RpcError as error:
                    if self._closed:
                        raise ClientClosedError("the client was closed while a request was under way") from error
                    try:
                        heapq.heappush(waiting, (time.monotonic() + attempts.delay_s(error), place, attempts))
                        continue
                    except ServerUnavailableError as final:
                        reply = Reply(place, error=explain_unavailable(final, self.connection))
                    except ClientError as final:
                        reply = Reply(place, error=final)
                except ClientError as error:
                    reply = Reply(place, error=error)
                yield reply
        finally:
            for call in flying:
                call.cancel()

    def _send(self, attempts: Attempts, arrived: queue.SimpleQueue[Any]) -> Any:
        if self._closed:
            raise ClientClosedError("the client is closed: make a new one")
        rpc = attempts.rpc
        call = getattr(self._stub, rpc.method).future(
            rpc.request, timeout=attempts.remaining_s(), metadata=self.connection.metadata
        )
        call.add_done_callback(arrived.put)
        return call
