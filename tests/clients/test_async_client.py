import asyncio
import time

import grpc
import numpy as np
import pytest

from neurips16.clients.async_client import AsyncClient
from neurips16.clients.client import Client
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.connection import Retry, Timeout
from neurips16.clients.protocol.errors import (
    ClientClosedError,
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotReadyError,
    ServerError,
    ServerUnavailableError,
)

TEXT = {"text": np.full((1, 64), 97, np.uint8)}
RETRY = Retry(attempts=4, initial_s=0.01, max_s=0.02)


def ask(server, question, **options):
    """What ``question`` (a coroutine function of a client) returns."""

    async def run():
        async with AsyncClient(server.url, retry=RETRY, **options) as client:
            return await question(client)

    return asyncio.run(run())


def test_answers_as_the_blocking_client(client, server):
    assert ask(server, lambda c: c.server_ready()) is True
    assert ask(server, lambda c: c.models()) == client.models()
    assert ask(server, lambda c: c.model_config("premise_ranker")) == client.model_config("premise_ranker")
    got = ask(server, lambda c: c.infer("premise_encoder", TEXT, outputs=["premise_embedding"]))
    np.testing.assert_array_equal(got["premise_embedding"], client.infer("premise_encoder", TEXT)["premise_embedding"])


def test_same_methods_as_the_blocking_client():
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == {name for name in dir(AsyncClient) if not name.startswith("_")}


def test_unavailable(server):
    server.faults.unavailable = 3
    assert ask(server, lambda c: c.infer("premise_encoder", TEXT))["premise_embedding"].shape == (1, 16)
    server.faults.unavailable = 1000
    with pytest.raises(ServerUnavailableError, match="4 attempts"):
        ask(server, lambda c: c.infer("premise_encoder", TEXT))


def test_errors(server):
    with pytest.raises(InvalidRequestError):
        ask(server, lambda c: c.infer("premise_encoder", {"text": np.zeros((1, 64))}))
    server.faults.unloaded = {"premise_ranker"}
    with pytest.raises(ModelNotReadyError):
        ask(server, lambda c: c.infer("premise_ranker", {}))


def test_deadline(server):
    server.faults.delay_s = 1.0
    with pytest.raises(DeadlineExceededError):
        ask(server, lambda c: c.infer("premise_encoder", TEXT), timeout=Timeout(infer_s=0.2))


def test_several_requests_under_way_but_bounded(server):
    server.max_batch_size = 1
    server.faults.delay_s = 0.02
    ask(server, lambda c: c.rank_premises("p(a)", [f"p{i}(a)" for i in range(12)]), max_in_flight=3)
    assert 1 < server.faults.most_in_flight <= 3


def many():
    """An operation of a hundred calls in one group."""
    return (yield (messages.infer("echo", {"a": [number]}) for number in range(100)))


def test_one_failure_ends_the_group(server):
    server.faults.fail_with, server.faults.fail_times = grpc.StatusCode.INTERNAL, 1
    server.faults.delay_s = 0.01
    with pytest.raises(ServerError):
        ask(server, lambda c: c.run(many()))
    assert server.faults.calls["ModelInfer"] < 10


def test_cancellation_ends_what_is_under_way(server):
    server.faults.delay_s = 3.0

    async def run():
        async with AsyncClient(server.url) as client:
            task = asyncio.create_task(client.infer("premise_encoder", TEXT))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    started = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started < 2


def test_closed_client(server):
    async def run():
        client = AsyncClient(server.url)
        await client.close()
        await client.models()

    with pytest.raises(ClientClosedError, match="make a new one"):
        asyncio.run(run())
