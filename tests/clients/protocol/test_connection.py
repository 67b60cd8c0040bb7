import contextlib
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from neurips16.clients.client import Client
from neurips16.clients.protocol.connection import TLS, Address, Connection, Retry, Timeout
from neurips16.clients.protocol.errors import InvalidInputError


@pytest.mark.parametrize(
    ("url", "target", "secure"),
    [
        ("host:9000", "host:9000", None),
        ("host", "host:8001", None),
        ("[::1]:9000", "[::1]:9000", None),
        ("grpc://a.example:1", "a.example:1", False),
        ("grpcs://a.example/", "a.example:8001", True),
    ],
)
def test_urls(url, target, secure):
    address = Address.parse(url)
    assert str(address) == target
    assert address.secure is secure


@pytest.mark.parametrize(
    "url", ["http://host:8000", "host:0", "host:65536", "host:port", "a b:1", "host:1/path", ":1", "::1"]
)
def test_urls_that_are_none(url):
    with pytest.raises(InvalidInputError, match="HOST:PORT"):
        Address.parse(url)


def test_url_comes_from_the_argument_then_the_environment_then_the_default(monkeypatch):
    assert Connection.of().url == "localhost:8001"
    monkeypatch.setenv("NEURIPS16_URL", "there:1")
    assert Connection.of().url == "there:1"
    assert Connection.of("here:2").url == "here:2"


def test_tls_and_credentials_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("NEURIPS16_TLS_CA", "ca.pem")
    monkeypatch.setenv("NEURIPS16_AUTHORIZATION", "Bearer x")
    connection = Connection.of("there:1")
    assert connection.tls == TLS(ca="ca.pem")
    assert connection.metadata == (("authorization", "Bearer x"),)
    assert Connection.of("there:1", headers={"Custom": "y"}).metadata == (("custom", "y"),)


def test_the_admin_token_goes_to_this_machine_or_over_tls_only(monkeypatch):
    monkeypatch.setenv("NEURIPS16_ADMIN_TOKEN", "a-token-of-the-admins")
    sent = (("triton-grpc-protocol-neurips16-admin", "a-token-of-the-admins"),)
    assert Connection.of("localhost:1").metadata == Connection.of("grpcs://a.example:1").metadata == sent
    assert Connection.of("a.example:1").metadata == Connection.of("localhost:1", headers={}).metadata == ()


def test_the_authorization_goes_to_this_machine_or_over_tls_only(monkeypatch):
    monkeypatch.setenv("NEURIPS16_AUTHORIZATION", "Bearer x")
    sent = (("authorization", "Bearer x"),)
    for url in ("localhost:1", "grpc://127.0.0.1:1", "[::1]:1", "grpcs://a.example:1"):
        assert Connection.of(url).metadata == sent
    for url in ("a.example:1", "grpc://a.example:1", "10.0.0.5:1", "localhost.example:1"):
        assert Connection.of(url).metadata == ()
    # What the caller gives by his own hand is sent where he says.
    assert Connection.of("a.example:1", headers={"authorization": "Bearer x"}).metadata == sent


def test_tls_follows_the_scheme():
    assert Connection.of("grpcs://there").tls == TLS()
    assert Connection.of("there").tls is None
    with pytest.raises(InvalidInputError, match="say grpcs://there:8001"):
        Connection.of("grpc://there", tls=TLS())


def test_tls_files():
    with pytest.raises(InvalidInputError, match="together"):
        TLS(certificate="a.pem")
    with pytest.raises(InvalidInputError, match=r"TLS file of /no/ca\.pem cannot be read: No such file"):
        Connection.of("there", tls=TLS(ca="/no/ca.pem")).channel(grpc)


@pytest.mark.parametrize(
    "make", [lambda: Timeout(infer_s=0), lambda: Timeout(control_s=float("inf")), lambda: Retry(attempts=0)]
)
def test_values_that_make_no_sense(make):
    with pytest.raises(InvalidInputError, match="got"):
        make()
    with pytest.raises(InvalidInputError, match="got 0"):
        Connection.of(max_in_flight=0)
    with pytest.raises(InvalidInputError, match="got"):
        Connection.of(max_message_bytes=2**40)


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"a": "x\ny"}, {"a": "é"}])
def test_headers_that_grpc_would_not_send(headers):
    with pytest.raises(InvalidInputError, match="header"):
        Connection.of(headers=headers)


def test_backoff_grows_to_its_bound_and_is_jittered():
    retry = Retry(initial_s=0.1, max_s=1.0)
    assert [retry.delay_s(n, draw=lambda: 1.0) for n in (1, 2, 3, 4, 5, 6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])
    assert retry.delay_s(3, draw=lambda: 0.0) == 0
    assert retry.delay_s(5000, draw=lambda: 1.0) == 1.0  # 2 ** 4999 is beyond every float
    assert len({retry.delay_s(3) for _ in range(20)}) > 1


def test_this_machine_is_asked_directly_and_others_through_a_proxy():
    direct = ("grpc.enable_http_proxy", 0)
    assert direct in Connection.of("localhost:1").options()
    assert direct in Connection.of("127.0.0.1:1").options()
    assert direct in Connection.of("[::1]:1").options()
    assert direct not in Connection.of("example.org:1").options()


def test_message_size_reaches_the_channel(monkeypatch):
    for way in ("send", "receive"):
        name = f"grpc.max_{way}_message_length"
        assert (name, 1000) in Connection.of(max_message_bytes=1000).options()
        assert (name, 256 << 20) in Connection.of().options()
    monkeypatch.setenv("NEURIPS16_MAX_MESSAGE_BYTES", "2000")
    assert Connection.of().max_message_bytes == 2000
    monkeypatch.setenv("NEURIPS16_MAX_MESSAGE_BYTES", "2 MB")
    with pytest.raises(InvalidInputError, match="NEURIPS16_MAX_MESSAGE_BYTES is a whole number of bytes, got '2 MB'"):
        Connection.of()


class _Compressing(service_pb2_grpc.GRPCInferenceServiceServicer):
    def ModelConfig(self, request, context):  # noqa: N802
        return service_pb2.ModelConfigResponse(config=model_config_pb2.ModelConfig(name=request.name))

    def ModelInfer(self, request, context):  # noqa: N802
        context.set_compression(grpc.Compression.Gzip)
        return service_pb2.ModelInferResponse(model_name="a", raw_output_contents=[bytes(128 << 20)])


ASK = """
import resource, sys
from neurips16.clients.client import Client
from neurips16.clients.protocol.errors import ResourceExhaustedError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with Client(sys.argv[1], max_message_bytes=4 << 20) as client:
        client.infer("a", {"x": [1.0]})
except ResourceExhaustedError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def test_a_compressed_answer_is_decompressed_up_to_the_limit_only():
    server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.max_send_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Compressing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        command = [sys.executable, "-c", ASK, f"127.0.0.1:{port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        server.stop(0).wait()
    kibibytes, _, reason = done.stdout.partition(" ")
    assert "ran into a limit" in reason, done.stderr
    assert "NEURIPS16_MAX_MESSAGE_BYTES" in reason
    assert int(kibibytes) < 64 << 10


def test_a_slow_line_is_given_time_to_connect(server):
    """Half a second goes by before the first byte arrives, as with a TLS handshake over some distance."""
    host, _, port = server.url.rpartition(":")

    def forward(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)

    with socket.create_server(("localhost", 0)) as listener, contextlib.ExitStack() as stack:

        def relay():
            near, _ = listener.accept()
            far = socket.create_connection((host, int(port)))
            stack.callback(near.close)
            stack.callback(far.close)
            time.sleep(0.5)
            threading.Thread(target=forward, args=(far, near), daemon=True).start()
            forward(near, far)

        threading.Thread(target=relay, daemon=True).start()
        with Client(f"localhost:{listener.getsockname()[1]}", retry=Retry(attempts=1)) as client:
            assert client.server_ready()
