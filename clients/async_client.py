"""The client for asyncio programs: the operations of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from neurips16.clients.media.audio import Audio
from neurips16.clients.media.image_reading import ImageSource
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.connection import TLS, Connection, Retry, Timeout
from neurips16.clients.protocol.errors import ClientClosedError, ClientError, ServerUnavailableError
from neurips16.clients.protocol.messages import ModelConfig, ModelStatus, Operation, Rpc, SequenceStep
from neurips16.clients.protocol.operation import Attempts, explained, known_models, single
from neurips16.clients.protocol.tls_diagnosis import explain_unavailable
from neurips16.clients.tasks.classify_sound.calls import SoundClassification, classify
from neurips16.clients.tasks.detect.calls import Detection, detect
from neurips16.clients.tasks.generate import calls as generation
from neurips16.clients.tasks.generate.calls import ImageCodes, PreferredInput
from neurips16.clients.tasks.rank_premises.calls import PremiseRanking, rank
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex
from neurips16.clients.tasks.rank_premises.statements import Statement

T = TypeVar("T")


class AsyncClient:
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
        self._closed = False

    async def server_ready(self) -> bool:
        """See `Client.server_ready`."""
        return await self.run(single(messages.server_ready()))

    async def models(self) -> list[ModelStatus]:
        """See `Client.models`."""
        return await self.run(known_models())

    async def model_config(self, name: str) -> ModelConfig:
        """See `Client.model_config`."""
        return await self.run(single(messages.model_config(name)))

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        outputs: Iterable[str] | None = None,
        version: str = "",
        sequence: SequenceStep | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """See `Client.infer`."""
        rpc = messages.infer(model, inputs, outputs=outputs, version=version, sequence=sequence, timeout_s=timeout_s)
        return await self.run(single(rpc))

    async def rank_premises(
        self,
        conjecture: str | Statement,
        premises: Sequence[str | Statement] | PremiseIndex,
        *,
        top_k: int | None = None,
    ) -> PremiseRanking:
        """See `Client.rank_premises`."""
        return await self.run(rank(conjecture, premises, top_k=top_k))

    async def detect(self, image: ImageSource, *, min_score: float = 0.0) -> list[Detection]:
        """See `Client.detect`."""
        return await self.run(detect(image, min_score=min_score))

    async def classify_sound(
        self, audio: Audio, sample_rate_hz: int | None = None, *, top_k: int | None = None, steps: bool = False
    ) -> SoundClassification:
        """See `Client.classify_sound`. Files are decoded in the event loop, a window at a time."""
        return await self.run(classify(audio, sample_rate_hz, top_k=top_k, steps=steps))

    async def generate(
        self,
        model: str = "infogan",
        *,
        category: int | Sequence[int] | np.ndarray | None = None,
        continuous: Sequence[float] | np.ndarray | None = None,
        count: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """See `Client.generate`."""
        return await self.run(
            generation.generate(model, category=category, continuous=continuous, count=count, seed=seed)
        )

    async def read_codes(self, images: Any) -> ImageCodes:
        """See `Client.read_codes`."""
        return await self.run(generation.read_codes(images))

    async def swap_style(self, style: Any, content: Any) -> np.ndarray:
        """See `Client.swap_style`."""
        return await self.run(generation.swap_style(style, content))

    async def interpolate(self, first: Any, second: Any, *, steps: int = 8) -> np.ndarray:
        """See `Client.interpolate`."""
        return await self.run(generation.interpolate(first, second, steps=steps))

    async def preferred_input(
        self, unit: int, *, steps: int = 200, seed: int = 0, step_size: float | None = None
    ) -> PreferredInput:
        """See `Client.preferred_input`."""
        found = await self.run(generation.preferred_inputs([unit], steps=steps, seed=seed, step_size=step_size))
        return found[0]

    async def run(self, operation: Operation[T]) -> T:
        """See `Client.run`."""
        operation = explained(operation)
        step = partial(next, operation)
        while True:
            try:
                group = step()
            except StopIteration as stop:
                return stop.value
            try:
                step = partial(operation.send, await self._perform(group))
            except ServerUnavailableError as error:
                step = partial(operation.throw, await asyncio.to_thread(explain_unavailable, error, self.connection))
            except ClientError as error:
                step = partial(operation.throw, error)

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

    async def _perform(self, group: Iterable[Rpc]) -> list:
        """The answers to a group of calls, in its order, a bounded number of them under way at the same time."""
        todo = enumerate(group)  # shared by the workers: each takes the next call that none has taken
        answers: dict[int, Any] = {}

        async def work() -> None:
            for place, rpc in todo:
                answers[place] = await self._call(rpc)

        workers = [asyncio.create_task(work()) for _ in range(self.connection.max_in_flight)]
        try:
            await asyncio.gather(*workers)
        finally:  # after an error, end what is under way
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [answers[place] for place in range(len(answers))]

    async def _call(self, rpc: Rpc[T]) -> T:
        attempts = Attempts(rpc, self.connection)
        while True:
            if self._closed:
                raise ClientClosedError("the client is closed: make a new one")
            if self._stub is None:
                self._channel = self.connection.channel(grpc.aio)
                self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
            try:
                method = getattr(self._stub, rpc.method)
                return rpc.decode(
                    await method(rpc.request, timeout=attempts.remaining_s(), metadata=self.connection.metadata)
                )
            except grpc.RpcError as error:
                if self._closed:
                    raise ClientClosedError("the client was closed while a request was under way") from error
                delay_s = attempts.delay_s(error)
            await asyncio.sleep(delay_s)
