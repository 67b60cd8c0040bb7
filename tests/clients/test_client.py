import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from neurips16.clients.client import Client
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.connection import MODEL_MAY_RETURN, Retry, Timeout
from neurips16.clients.protocol.errors import (
    AccessDeniedError,
    ClientClosedError,
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    ModelNotReadyError,
    ResourceExhaustedError,
    ServerError,
    ServerUnavailableError,
)
from neurips16.clients.protocol.messages import SequenceStep

TEXT = {"text": np.full((1, 64), 97, np.uint8)}


def test_infer_and_its_outputs(client, server):
    inputs = {"conjecture": np.ones((2, 16), np.float32), "premises": np.ones((2, 3, 16), np.float32)}
    answer = client.infer("premise_ranker", inputs)
    assert {name: value.shape for name, value in answer.items()} == {"scores": (2, 3), "logits": (2, 3)}
    assert list(client.infer("premise_ranker", inputs, outputs=["scores"])) == ["scores"]
    np.testing.assert_allclose(answer["scores"], server.pair_score(inputs["conjecture"], inputs["premises"]))


def test_echo_of_several_inputs(client):
    inputs = {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": np.array([[b"x", b""], [b"yy", b"z"]])}
    answer = client.infer("echo", inputs)
    np.testing.assert_array_equal(answer["a"], inputs["a"])
    assert answer["b"].tolist() == inputs["b"].tolist()


def test_version_and_sequence_reach_the_server(client, server):
    client.infer("echo", {"a": [1]}, version="3", sequence=SequenceStep(9, start=True, end=True))
    (request,) = server.faults.requests
    assert request.model_version == "3"
    assert request.parameters["sequence_id"].int64_param == 9


def test_what_a_server_says_about_itself(client, server):
    server.faults.unloaded = {"premise_encoder"}
    assert client.server_ready() is True
    assert [(m.name, m.version, m.ready, m.reason) for m in client.models()] == [
        ("premise_encoder", "1", False, "unloaded"),
        ("premise_ranker", "1", True, ""),
    ]
    config = client.model_config("premise_ranker")
    assert config.max_batch_size == 8
    assert config.parameters == {"build": "c0ffee", "embedding_size": "16", "rank_size": "11"}
    assert [(t.name, t.dtype, t.dims) for t in config.inputs] == [
        ("conjecture", "FP32", (16,)),
        ("premises", "FP32", (-1, 16)),
    ]


def test_unavailable_is_tried_again_and_the_answer_comes(client, server):
    server.faults.unavailable = 3
    assert client.infer("premise_encoder", TEXT)["premise_embedding"].shape == (1, 16)
    assert server.faults.calls["ModelInfer"] == 4


def test_unavailable_for_ever(client, server):
    server.faults.unavailable = 1000
    with pytest.raises(ServerUnavailableError, match="4 attempts") as caught:
        client.infer("premise_encoder", TEXT)
    assert server.faults.calls["ModelInfer"] == 4
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_a_later_step_of_a_sequence_is_sent_once(client, server):
    server.faults.unavailable = 1
    with pytest.raises(ServerUnavailableError):
        client.infer("echo", {"a": np.array([1])}, sequence=SequenceStep(9))
    assert server.faults.calls["ModelInfer"] == 1


def test_no_server():
    started = time.monotonic()
    with (
        Client("localhost:1", retry=Retry(attempts=3, initial_s=0.01)) as client,
        pytest.raises(ServerUnavailableError, match=r"no server answers at localhost:1 \(3 attempts .*neurips16 serve"),
    ):
        client.models()
    assert time.monotonic() - started < 5


def test_a_server_that_comes_back_is_found_again(start_server):
    first = start_server()
    with Client(first.url, retry=Retry(attempts=100, initial_s=0.05, max_s=0.1)) as client:
        assert client.server_ready()
        first.server.stop(None).wait()
        threading.Timer(0.5, lambda: start_server(port=first.url.split(":")[1])).start()
        assert client.server_ready()


def test_a_model_that_comes_back_is_asked_again_where_that_is_wanted(server):
    server.faults.fail_with, server.faults.fail_times = grpc.StatusCode.INTERNAL, 2
    with Client(server.url, retry=Retry(initial_s=0.01, codes=MODEL_MAY_RETURN)) as client:
        assert client.infer("premise_encoder", TEXT)["premise_embedding"].shape == (1, 16)
        assert server.faults.calls["ModelInfer"] == 3
        server.faults.fail_times = 1
        with pytest.raises(ServerError):  # a later step of a sequence is never repeated
            client.infer("echo", {"a": np.array([1])}, sequence=SequenceStep(9))


def test_deadline(server):
    server.faults.delay_s = 1.0
    with Client(server.url, timeout=Timeout(infer_s=0.2)) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=r"ModelInfer of model 'premise_enc.* within 0\.[2-9]\d* s"):
            client.infer("premise_encoder", TEXT)
        assert time.monotonic() - started < 0.9
        assert client.infer("premise_encoder", TEXT, timeout_s=9)["premise_embedding"].shape == (1, 16)


def test_attempts_share_one_deadline(server):
    server.faults.unavailable = 10**6
    retry, timeout = Retry(attempts=10**6, initial_s=0.01, max_s=0.02), Timeout(infer_s=0.3, control_s=0.3)
    with Client(server.url, retry=retry, timeout=timeout) as client:
        started = time.monotonic()
        with pytest.raises((ServerUnavailableError, DeadlineExceededError)):
            client.infer("premise_encoder", TEXT)
        assert time.monotonic() - started < 2


def test_unknown_and_unloaded_models(client, server):
    with pytest.raises(ModelNotFoundError, match=r"no model 'nope': it has premise_encoder, premise_r"):
        client.infer("nope", {})
    server.faults.unloaded = {"premise_encoder"}
    with pytest.raises(ModelNotReadyError, match=r"'premise_encoder', but not loaded: unloaded") as caught:
        client.model_config("premise_encoder")
    assert caught.value.model == "premise_encoder"
    assert isinstance(caught.value.__cause__, ModelNotFoundError)


def test_wrong_dtype_and_wrong_name(client):
    with pytest.raises(
        InvalidRequestError, match=r"'text' is INT64 \[1, 64\], it takes UINT8 \[N, \?\]: convert it with"
    ):
        client.infer("premise_encoder", {"text": np.zeros((1, 64), np.int64)})
    with pytest.raises(InvalidRequestError, match="it has no input 'txt', but text; its input 'text'"):
        client.infer("premise_encoder", {"txt": np.zeros((1, 64), np.uint8)})


def test_a_server_that_fails(client, server):
    server.faults.fail_with = grpc.StatusCode.INTERNAL
    with pytest.raises(ServerError, match="failed with INTERNAL: as asked"):
        client.infer("premise_encoder", TEXT)
    assert server.faults.calls["ModelInfer"] == 1


def test_headers_are_credentials(server):
    server.faults.required_header = ("authorization", "Bearer sesame")
    with Client(server.url, headers={"Authorization": "Bearer sesame"}) as client:
        assert client.server_ready()
    with Client(server.url) as client, pytest.raises(AccessDeniedError, match="NEURIPS16_AUTHORIZATION"):
        client.server_ready()


def test_message_sizes(server):
    large = np.zeros(6 << 20, np.uint8)  # over the 4 MiB at which gRPC stops by itself
    with Client(server.url) as client:
        assert client.infer("echo", {"a": large})["a"].nbytes == large.nbytes
    with Client(server.url, max_message_bytes=1 << 20) as client, pytest.raises(ResourceExhaustedError, match="limit"):
        client.infer("echo", {"a": large})


def test_many_threads_share_a_client(client):
    def ask(number):
        return int(client.infer("echo", {"a": np.array([number])})["a"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(100))) == list(range(100))


def test_a_closed_client_says_so(server):
    client = Client(server.url)
    client.close()
    client.close()
    with pytest.raises(ClientClosedError, match="make a new one"):
        client.models()


def test_closing_ends_what_is_under_way(server):
    server.faults.delay_s = 3.0
    client = Client(server.url)
    threading.Timer(0.2, client.close).start()
    started = time.monotonic()
    with pytest.raises(ClientClosedError, match="under way"):
        client.infer("premise_encoder", TEXT)
    assert time.monotonic() - started < 2


def test_ctrl_c_ends_what_is_under_way(client, server, request):
    # A shell starts a program in the background with SIGINT ignored, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    server.faults.delay_s = 1.5
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        client.infer("premise_encoder", TEXT)
    assert time.monotonic() - started < 1.4
    while not server.faults.given_up:
        assert time.monotonic() - started < 10, "the server was not told"
        time.sleep(0.05)


def many():
    """An operation of a hundred calls in one group."""
    return (yield (messages.infer("echo", {"a": [number]}) for number in range(100)))


def test_one_failure_ends_the_group(client, server):
    server.faults.fail_with, server.faults.fail_times = grpc.StatusCode.INTERNAL, 1
    server.faults.delay_s = 0.01
    with pytest.raises(ServerError):
        client.run(many())
    assert server.faults.calls["ModelInfer"] < 10
