"""What an operation may ask for, on all three drivers; what it opened is closed however it ends."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from neurips16.clients import AsyncClient, Client
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import DeadlineExceededError, InvalidInputError, InvalidRequestError, ServerError
from neurips16.clients.protocol.operation import Defer, Each, Emit, single
from neurips16.clients.protocol.sequence import Sequence
from neurips16.clients.scoring.bound_models import bind, pinned

ENCODER = "premise_encoder"


def ask(text):
    row = np.frombuffer(text.encode().ljust(64, b"\0"), np.uint8)[None]
    return messages.infer(ENCODER, {"text": row}, outputs=["premise_embedding"])


def embeddings(texts, seen=None):
    """Emits each text's first number as it comes, returns their sum."""
    total = 0.0
    each = Each(ask(text) for text in texts)
    while (reply := (yield each)) is not None:
        number = float(reply.result()["premise_embedding"][0, 0])
        total += number
        yield Emit((reply.place, number))
    return total


async def astream(url, operation):
    async with AsyncClient(url) as client:
        stream = client.stream(operation)
        return [value async for value in stream], stream.result


@pytest.fixture
def drivers(scoring_repository, scoring_server):
    """Each driver as a function: an operation's emitted values, and its result."""

    def blocking(operation):
        with Client(scoring_server.url) as client:
            stream = client.stream(operation)
            return list(stream), stream.result

    def local(operation):
        stream = LocalClient(scoring_repository).stream(operation)
        return list(stream), stream.result

    return [blocking, local, lambda operation: asyncio.run(astream(scoring_server.url, operation))]


def test_all_drivers_stream_the_same(drivers, scoring_repository):
    answers = [driver(embeddings(["p(a)", "q(b)", "r(c)"])) for driver in drivers]
    want = [sorted(values) for values, _ in answers]
    assert want[0] == want[1] == want[2]
    assert [place for place, _ in want[0]] == [0, 1, 2]
    assert [result for _, result in answers] == [pytest.approx(sum(n for _, n in want[0]))] * 3
    local = LocalClient(scoring_repository)
    assert local.run(embeddings(["p(a)"])) == pytest.approx(want[0][0][1])  # run passes over what is emitted
    models = local.run(bind([ENCODER]))
    assert local.run(pinned(embeddings(["p(a)"]), models)) == pytest.approx(want[0][0][1])


def test_values_come_while_others_are_under_way(scoring_server):
    texts = (f"p({number})" for number in range(1000))
    with Client(scoring_server.url, max_in_flight=2) as client, client.stream(embeddings(texts)) as stream:
        next(stream)
        assert scoring_server.inferences <= 4
    assert scoring_server.inferences <= 4


def test_an_error_is_that_of_one_call(drivers):
    def some_bad():
        replies = []
        each = Each([ask("p"), messages.infer(ENCODER, {"wrong": np.zeros((1, 1), np.uint8)}), ask("q")])
        while (reply := (yield each)) is not None:
            replies.append(reply)
        return {reply.place: type(reply.error) for reply in replies}

    for driver in drivers:
        kinds = driver(some_bad())[1]
        assert kinds[0] is kinds[2] is type(None)
        assert kinds[1] is InvalidRequestError


@pytest.mark.parametrize("ending", ["through", "failed", "given up"])
def test_what_was_deferred_is_done_however_it_ends(drivers, scoring_repository, ending):
    done = []

    def later():
        answer = yield from single(ask("p"))
        done.append(answer["premise_embedding"].shape)
        raise InvalidInputError("nobody hears of this")

    def operation():
        yield Defer(later)
        yield Emit(1)
        if ending == "failed":
            raise InvalidInputError("as asked")
        yield Emit(2)

    if ending == "given up":
        stream = LocalClient(scoring_repository).stream(operation())
        assert next(stream) == 1
        stream.close()
        assert next(stream, None) is None
    for driver in drivers if ending != "given up" else ():
        if ending == "failed":
            with pytest.raises(InvalidInputError, match="as asked"):
                driver(operation())
        else:
            assert driver(operation()) == ([1, 2], None)
    assert done == [(1, 4)] * (1 if ending == "given up" else 3)


def test_an_async_stream_that_is_given_up_ends_what_it_began(server):
    server.faults.delay_s = 0.05

    async def first_of_many():
        many = embeddings(f"p({n})" for n in range(1000))
        async with AsyncClient(server.url, max_in_flight=2) as client, client.stream(many) as stream:
            await anext(stream)

    asyncio.run(first_of_many())
    assert len(server.faults.requests) <= 6


def test_the_time_of_an_operation_is_that_of_all_its_calls(server, scoring_repository):
    server.faults.delay_s = 0.1
    with Client(server.url, max_in_flight=1) as client:
        with pytest.raises(DeadlineExceededError):
            client.run(embeddings("abcdefgh"), timeout_s=0.4)
        with pytest.raises(InvalidInputError, match="over 0, got 0"):
            client.run(embeddings("a"), timeout_s=0)
    with pytest.raises(DeadlineExceededError, match="give the operation more"):
        LocalClient(scoring_repository).run(embeddings(["p"] * 1000), timeout_s=1e-9)


def steps_of(server):
    names = ("sequence_start", "sequence_end")
    return [tuple(request.parameters[name].bool_param for name in names) for request in server.faults.requests]


def transcribe(blocks, *, whole):
    sequence = Sequence("echo", outputs=["x"])
    yield Defer(sequence.close)
    for number, block in enumerate(blocks, start=1):
        answer = yield from sequence.step({"x": np.array([[block]])}, last=whole and number == len(blocks))
        yield Emit(int(answer["x"][0, 0]))


@pytest.mark.parametrize("whole", [True, False])
def test_a_sequence_is_opened_and_closed(client, server, whole):
    assert list(client.stream(transcribe([3, 4, 5], whole=whole))) == [3, 4, 5]
    assert (
        steps_of(server) == [(True, False), (False, False), (False, True)]
        if whole
        else [
            (True, False),
            (False, False),
            (False, False),
            (False, True),
        ]
    )
    assert len({request.parameters["sequence_id"].int64_param for request in server.faults.requests}) == 1


def test_a_sequence_tries_only_its_first_step_again(client, server):
    server.faults.unavailable = 2
    sequence = Sequence("echo")
    client.run(sequence.step({"x": np.zeros((1, 1))}))
    assert steps_of(server)[-1] == (True, False)
    server.faults.fail_with, server.faults.fail_times = grpc.StatusCode.INTERNAL, 1
    with pytest.raises(ServerError):
        client.run(sequence.step({"x": np.zeros((1, 1))}))
    with pytest.raises(InvalidInputError, match="has failed: begin another"):
        client.run(sequence.step({"x": np.zeros((1, 1))}))
    client.run(sequence.close())
    assert steps_of(server)[-1] == (False, True)
    sent = len(server.faults.requests)
    client.run(sequence.close())
    assert len(server.faults.requests) == sent


def test_an_async_client_belongs_to_one_event_loop(server):
    client = AsyncClient(server.url)
    assert asyncio.run(client.server_ready()) is True
    with pytest.raises(InvalidInputError, match="another event loop"):
        asyncio.run(client.server_ready())
