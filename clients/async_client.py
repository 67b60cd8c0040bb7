"""The client for asyncio programs: the operations of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2_grpc

from neurips16.clients.calls import AsyncTaskCalls
from neurips16.clients.protocol.attempts import Attempts, deadline_of
from neurips16.clients.protocol.connection import TLS, Connection, Retry, Timeout
from neurips16.clients.protocol.errors import ClientClosedError, ClientError, InvalidInputError, ServerUnavailableError
from neurips16.clients.protocol.messages import Rpc
from neurips16.clients.protocol.model_index import explained
from neurips16.clients.protocol.operation import AsyncStream, Operation, Reply
from neurips16.clients.protocol.tls_diagnosis import explain_unavailable

T = TypeVar("T")


class AsyncClient(AsyncTaskCalls):
    """As `neurips16.clients.Client`, argument for argument; to be used within one event loop."""

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
        self._channel: Any = None  # made by the first call: gRPC binds a channel to the running loop
        self._stub: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def run(self, operation: Operation[T], *, timeout_s: float | None = None) -> T:
        """See `Client.run`."""
        stream = self.stream(operation, timeout_s=timeout_s)
        async for _ in stream:
            pass
        return stream.result

    def stream(self, operation: Operation[T], *, timeout_s: float | None = None) -> AsyncStream[T]:
        """See `Client.stream`: ``async for character in client.stream(…)``."""
        return AsyncStream(explained(operation), partial(self._perform, deadline=deadline_of(timeout_s)))

    async def close(self) -> None:
        """See `Client.close`."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _perform(self, calls: Iterable[Rpc], *, deadline: float) -> AsyncGenerator[Reply, None]:
        """The replies to a group of calls as they arrive, a bounded number of them under way at the same time."""
        todo = enumerate(calls)
        flying: set[asyncio.Task[Reply]] = set()
        arrived: set[asyncio.Task[Reply]] = set()
        try:
            while True:
                while len(flying) < self.connection.max_in_flight and (item := next(todo, None)):
                    attempts = Attempts(item[1], self.connection, deadline=deadline)
                    flying.add(asyncio.create_task(self._call(item[0], attempts)))
                if not flying:
                    return
                arrived, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                while arrived:
                    yield arrived.pop().result()
        finally:  # after an error, end what is under way
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, *arrived, return_exceptions=True)

    async def _call(self, place: int, attempts: Attempts) -> Reply:
        rpc = attempts.rpc
        while True:
            method = getattr(self._connected(), rpc.method)
            try:
                timeout_s = attempts.remaining_s()
                answer = await method(rpc.request, timeout=timeout_s, metadata=self.connection.metadata)
                return Reply(place, rpc.decode(answer))
            except grpc.RpcError as error:
                if self._closed:
                    raise ClientClosedError("the client was closed while a request was under way") from error
                try:
                    delay_s = attempts.delay_s(error)
                except ServerUnavailableError as final:
                    explained_error = await asyncio.to_thread(explain_unavailable, final, self.connection)
                    return Reply(place, error=explained_error)
                except ClientError as final:
                    return Reply(place, error=final)
            except ClientError as error:
                return Reply(place, error=error)
            await asyncio.sleep(delay_s)

    def _connected(self) -> Any:
        """The stub of the channel, which belongs to the event loop that it was made in."""
        if self._closed:
            raise ClientClosedError("the client is closed: make a new one")
        loop = asyncio.get_running_loop()
        if self._stub is None:
            self._loop = loop
            self._channel = self.connection.channel(grpc.aio)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        if self._loop is not loop:
            raise InvalidInputError(
                "this AsyncClient belongs to another event loop, where it was used first: make one within each "
                "asyncio.run"
            )
        return self._stub
