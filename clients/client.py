"""The client for ordinary programs: it blocks, and its methods may be called from any number of threads."""

from __future__ import annotations

import heapq
import queue
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import grpc
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


class Client:
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

    All methods raise what `neurips16.clients.protocol.errors` draws.
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

    def server_ready(self) -> bool:
        """Whether the server says that it and its models are ready; an error where no server answers."""
        return self.run(single(messages.server_ready()))

    def models(self) -> list[ModelStatus]:
        """Every model of the server's repository, loaded or not.

        Where that is for who has the admin token, and no header holds it, the loaded ones only.
        """
        return self.run(known_models())

    def model_config(self, name: str) -> ModelConfig:
        """The configuration of a loaded model: tensors, batch size and parameters."""
        return self.run(single(messages.model_config(name)))

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        outputs: Iterable[str] | None = None,
        version: str = "",
        sequence: SequenceStep | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """A model's outputs by name, as read-only arrays.

        Args:
            model: its name on the server.
            inputs: arrays, or what NumPy makes one of, by name; batch axis first.
            outputs: the names wanted; all, if None.
            version: of the model; the server's choice, if empty.
            sequence: for a model with state. Only a first step is tried again: a repeated later one would move the
                state twice.
            timeout_s: in place of ``Timeout.infer_s``.
        """
        rpc = messages.infer(model, inputs, outputs=outputs, version=version, sequence=sequence, timeout_s=timeout_s)
        return self.run(single(rpc))

    def rank_premises(
        self,
        conjecture: str | Statement,
        premises: Sequence[str | Statement] | PremiseIndex,
        *,
        top_k: int | None = None,
    ) -> PremiseRanking:
        """The premises by how useful the model thinks each is to prove the conjecture, best first.

        Args:
            conjecture: ``fof(name, role, formula).`` or a bare formula.
            premises: the same, equal ones being encoded once; or an index, whose premises are encoded already.
            top_k: how many to return; all, if None.
        """
        return self.run(rank(conjecture, premises, top_k=top_k))

    def detect(self, image: ImageSource, *, min_score: float = 0.0) -> list[Detection]:
        """The objects on an image, the surest first.

        Args:
            image: a file's path, an image of Pillow's, or an array uint8 [H, W, 3] in RGB, of any size. A file is
                turned upright as its EXIF orientation says, and the boxes are in pixels of the upright image.
            min_score: what is less sure is left out; the model itself reports nothing below its own least score.
        """
        return self.run(detect(image, min_score=min_score))

    def classify_sound(
        self, audio: Audio, sample_rate_hz: int | None = None, *, top_k: int | None = None, steps: bool = False
    ) -> SoundClassification:
        """What can be heard, the likeliest class first: a list of `SoundClass`.

        Args:
            audio: a file (wav, flac, ogg, mp3, …), or samples [T] or [T, channels]: floating-point numbers in
                [-1, 1], or whole numbers of 8, 16 or 32 bits. Any rate, any length from 0.1 s; long files are read
                and sent a window at a time.
            sample_rate_hz: of an array; a file says its own.
            top_k: how many classes to return; all, if None.
            steps: also say what is heard when, as ``timeline`` of the answer.
        """
        return self.run(classify(audio, sample_rate_hz, top_k=top_k, steps=steps))

    def generate(
        self,
        model: str = "infogan",
        *,
        category: int | Sequence[int] | np.ndarray | None = None,
        continuous: Sequence[float] | np.ndarray | None = None,
        count: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Images uint8 [count, H, W, C] of latent codes; the same seed gives the same images on any server.

        Args:
            model: an InfoGAN's name on the server.
            category: of each categorical code, for all images; or int [count, K], for each image its own; None takes
                the categories of the first code in turn.
            continuous: the continuous codes, for all images; or float [count, M]; None is zeros.
            count: how many images; None is 1, or as many as codes are given for.
            seed: image i has the seed ``seed + i``.
        """
        return self.run(generation.generate(model, category=category, continuous=continuous, count=count, seed=seed))

    def read_codes(self, images: Any) -> ImageCodes:
        """The latent codes that the InfoGAN's recogniser reads from images uint8 [N, H, W, C], or from one image."""
        return self.run(generation.read_codes(images))

    def swap_style(self, style: Any, content: Any) -> np.ndarray:
        """Images uint8 [N, H, W, C] of the class of ``content`` in the style of ``style``.

        Args:
            style: one image uint8 [H, W, C], or several; [H, W] will do for grey.
            content: likewise; one image goes with each of several others.
        """
        return self.run(generation.swap_style(style, content))

    def interpolate(self, first: Any, second: Any, *, steps: int = 8) -> np.ndarray:
        """From one image to another, uint8 [steps, steps, H, W, C]: the class along axis 0, the style along axis 1."""
        return self.run(generation.interpolate(first, second, steps=steps))

    def preferred_input(
        self, unit: int, *, steps: int = 200, seed: int = 0, step_size: float | None = None
    ) -> PreferredInput:
        """The image that a unit of the server's classifier prefers, by ascent in the code space of a generator.

        Args:
            unit: a class.
            steps: of the ascent.
            seed: of the code that it starts from.
            step_size: of the first step; None takes the model's own.
        """
        return self.run(generation.preferred_inputs([unit], steps=steps, seed=seed, step_size=step_size))[0]

    def run(self, operation: Operation[T]) -> T:
        """Perform an operation: a generator of groups of calls, see `neurips16.clients.protocol.messages`."""
        operation = explained(operation)
        step = partial(next, operation)
        while True:
            try:
                group = step()
            except StopIteration as stop:
                return stop.value
            try:
                step = partial(operation.send, self._perform(group))
            except ServerUnavailableError as error:
                step = partial(operation.throw, explain_unavailable(error, self.connection))
            except ClientError as error:
                step = partial(operation.throw, error)

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

    def _perform(self, group: Iterable[Rpc]) -> list:
        """The answers to a group of calls, in its order, a bounded number of them under way at the same time.

        The calling thread is the only one: replies and waits before further attempts are events in its queue, so an
        error, or Ctrl-C, ends what is under way at once.
        """
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        flying: dict[Any, tuple[int, Attempts]] = {}
        waiting: list[tuple[float, int, Attempts]] = []  # a heap by the time of the next attempt
        answers: dict[int, Any] = {}
        todo = enumerate(group)
        try:
            while True:
                while waiting and waiting[0][0] <= time.monotonic():
                    _, place, attempts = heapq.heappop(waiting)
                    flying[self._send(attempts, arrived)] = place, attempts
                while len(flying) + len(waiting) < self.connection.max_in_flight and (item := next(todo, None)):
                    attempts = Attempts(item[1], self.connection)
                    flying[self._send(attempts, arrived)] = item[0], attempts
                if not flying and not waiting:
                    return [answers[place] for place in range(len(answers))]
                try:
                    call = arrived.get(timeout=max(0.0, waiting[0][0] - time.monotonic()) if waiting else None)
                except queue.Empty:
                    continue
                place, attempts = flying.pop(call)
                try:
                    answers[place] = attempts.rpc.decode(call.result())
                except grpc.RpcError as error:
                    if self._closed:
                        raise ClientClosedError("the client was closed while a request was under way") from error
                    heapq.heappush(waiting, (time.monotonic() + attempts.delay_s(error), place, attempts))
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
