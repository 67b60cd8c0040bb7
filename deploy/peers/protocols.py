"""How a server is asked: one request, made once and sent again and again, in the protocol that serves it best."""

from __future__ import annotations

import asyncio
from typing import Protocol

import aiohttp
import grpc
import numpy as np
from subjects import Subject
from tritonclient.grpc import service_pb2

ASK_S = 60.0  # after this, a request has failed
INFER = "/inference.GRPCInferenceService/ModelInfer"
# A channel of its own for each client, that soon sees a server come up, and no bound on messages.
CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
ASK_ERRORS = (grpc.RpcError, aiohttp.ClientError, asyncio.TimeoutError)  # there is no answer
_LENGTH = 4  # bytes before an element of BYTES


class Client(Protocol):
    """What the load generator and the check of the answers need."""

    async def ask(self) -> bytes:
        """Send the request; the answer as it came."""

    def read(self, answer: bytes) -> list[np.ndarray]:
        """The outputs in such an answer, in the model's order."""

    async def close(self) -> None:
        """Give the connection back."""


class V2:
    """KServe v2 over gRPC, tensors as raw contents."""

    def __init__(self, port: int, subject: Subject):
        self._subject = subject
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL)
        self._infer = self._channel.unary_unary(INFER)  # bytes in, bytes out: (de)serialising is left to `read`
        self._request = self._prepare().SerializeToString()

    def _prepare(self) -> service_pb2.ModelInferRequest:
        (tensor,) = self._subject.spec.inputs
        request = service_pb2.ModelInferRequest(model_name=self._subject.name)
        request.inputs.add(name=tensor.name, datatype=tensor.dtype, shape=self._subject.array.shape)
        request.raw_input_contents.append(self._subject.array.tobytes())
        return request

    async def ask(self) -> bytes:
        """Send the request; the answer's message."""
        return await self._infer(self._request, timeout=ASK_S)

    def read(self, answer: bytes) -> list[np.ndarray]:
        """The outputs."""
        message = service_pb2.ModelInferResponse.FromString(answer)
        types = {tensor.name: tensor.numpy_dtype for tensor in self._subject.spec.outputs}
        found = {
            output.name: np.frombuffer(raw, types[output.name]).reshape(output.shape)
            for output, raw in zip(message.outputs, message.raw_output_contents, strict=True)
        }
        return [found[name] for name in self._subject.output_names]

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class BytesOverV2(V2):
    """KServe v2 over gRPC, all tensors of a request in one element of BYTES, and all of an answer likewise."""

    def _prepare(self) -> service_pb2.ModelInferRequest:
        body = self._subject.array.tobytes()
        request = service_pb2.ModelInferRequest(model_name=self._subject.name)
        request.inputs.add(name=self._subject.input_name, datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(len(body).to_bytes(_LENGTH, "little") + body)
        return request

    def read(self, answer: bytes) -> list[np.ndarray]:
        """The outputs."""
        (raw,) = service_pb2.ModelInferResponse.FromString(answer).raw_output_contents
        return cut(raw[_LENGTH:], self._subject.reference)


class RawHttp:
    """HTTP, the tensor's bytes as the body, and the outputs one behind the other in the answer's."""

    def __init__(self, port: int, subject: Subject, path: str):
        self._subject = subject
        self._url = f"http://127.0.0.1:{port}{path}"
        self._body = subject.array.tobytes()
        # More than are ever needed, and fewer than select can watch; who has to wait for one is charged for it, too.
        self._http = aiohttp.ClientSession(
            # A server that was suspended for longer than it keeps a connection (uvicorn: 5 s) closes it on waking up.
            connector=aiohttp.TCPConnector(limit=512, keepalive_timeout=2.0),
            timeout=aiohttp.ClientTimeout(total=ASK_S),
            headers={"Content-Type": "application/octet-stream"},
            raise_for_status=True,
        )

    async def ask(self) -> bytes:
        """Send the request; the answer's body."""
        async with self._http.post(self._url, data=self._body) as answer:
            return await answer.read()

    def read(self, answer: bytes) -> list[np.ndarray]:
        """The outputs."""
        return cut(answer, self._subject.reference)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


class InProcess:
    """No server at all: the session itself, called in this process. It blocks, as it would in anybody's loop."""

    def __init__(self, subject: Subject):
        self._subject = subject
        self._feed = {subject.input_name: subject.array}

    async def ask(self) -> list[np.ndarray]:  # type: ignore[override]  # nothing is packed where nothing travels
        """Run the model."""
        return self._subject.session.run(self._subject.output_names, self._feed)

    def read(self, answer: list[np.ndarray]) -> list[np.ndarray]:
        """They are the outputs already."""
        return answer

    async def close(self) -> None:
        """There is nothing to close."""


def cut(body: bytes, like: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays that stand one behind the other in ``body``, of the types and shapes of ``like``.

    Raises:
        ValueError: it is longer or shorter.
    """
    expected = sum(array.nbytes for array in like)
    if len(body) != expected:
        raise ValueError(f"the answer has {len(body)} bytes, expected {expected}")
    found, start = [], 0
    for array in like:
        found.append(np.frombuffer(body, array.dtype, array.size, start).reshape(array.shape))
        start += array.nbytes
    return found
