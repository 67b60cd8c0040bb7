"""Who gets in, and what they may do there: TLS, the admin token, and what is open to others at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from certificates import Authority
from serving_tools import ONE, X_TO_Y, eventually, put, times
from tritonclient.grpc import service_pb2, service_pb2_grpc

from neurips16.clients import TLS, AsyncClient, Client, Retry
from neurips16.clients.command import main
from neurips16.clients.protocol.errors import TLSRefusedError
from neurips16.serving import ServerTLS, TritonServer
from neurips16.serving.errors import SecurityError
from neurips16.serving.triton.address import settle_hosts
from neurips16.serving.triton.admin_token import GRPC_HEADER, HEADER, check_token, given_token, make_token

ONCE = Retry(attempts=1)
X = np.arange(6, dtype=np.float32).reshape(2, 3)
NAME = "models.example"  # in the server's certificate, as one behind a proxy or in a cluster has it

# A call of each kind that Triton has, by protocol.
RESTRICTED = {
    "RepositoryIndex": service_pb2.RepositoryIndexRequest(),
    "RepositoryModelLoad": service_pb2.RepositoryModelLoadRequest(model_name="double"),
    "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(model_name="absent"),
    "SystemSharedMemoryStatus": service_pb2.SystemSharedMemoryStatusRequest(),
    "SystemSharedMemoryRegister": service_pb2.SystemSharedMemoryRegisterRequest(name="r", key="/r", byte_size=1),
    "SystemSharedMemoryUnregister": service_pb2.SystemSharedMemoryUnregisterRequest(),
    "CudaSharedMemoryStatus": service_pb2.CudaSharedMemoryStatusRequest(),
    "CudaSharedMemoryRegister": service_pb2.CudaSharedMemoryRegisterRequest(name="r", byte_size=1),
    "CudaSharedMemoryUnregister": service_pb2.CudaSharedMemoryUnregisterRequest(),
    "TraceSetting": service_pb2.TraceSettingRequest(),
    "LogSettings": service_pb2.LogSettingsRequest(),
}
RESTRICTED_HTTP = {
    "/v2": "GET",
    "/v2/models/double": "GET",
    "/v2/models/double/config": "GET",
    "/v2/models/double/stats": "GET",
    "/v2/repository/index": "POST",
    "/v2/repository/models/double/load": "POST",
    "/v2/systemsharedmemory/status": "GET",
    "/v2/cudasharedmemory/status": "GET",
    "/v2/trace/setting": "GET",
    "/v2/logging": "GET",
}
LET_IN_AND_REFUSED = {"SystemSharedMemoryRegister", "CudaSharedMemoryRegister"}  # there is no such region


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder) -> Authority:
    authority = Authority(folder, "authority")
    authority.sign("server", dns=(NAME,))
    authority.sign("user")
    authority.sign("late", valid_days=-1)
    Authority(folder, "stranger").sign("intruder")
    return authority


@pytest.fixture(scope="module")
def secured(needs_triton, tmp_path_factory, folder, authority) -> Iterator[TritonServer]:
    """A server for others, with mutual TLS; HTTP on loopback, because it was asked for."""
    repository = tmp_path_factory.mktemp("secured")
    put(repository, "double", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(2))
    tls = ServerTLS(folder / "server.pem", folder / "server.key", authority.path)
    ports = {"grpc_port": 0, "http_port": 0, "metrics_port": 0}
    with TritonServer(repository, host="0.0.0.0", http_host="127.0.0.1", tls=tls, **ports) as server:
        yield server


@pytest.fixture(scope="module")
def certified(folder):
    """The TLS settings of a client: its certificate by name, None for none."""

    def tls(name: str | None, *, ca: str = "authority", server_name: str = NAME) -> TLS:
        pair = (None, None) if name is None else (folder / f"{name}.pem", folder / f"{name}.key")
        return TLS(folder / f"{ca}.pem", *pair, server_name=server_name)

    return tls


@pytest.fixture(scope="module")
def stub(secured, folder) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    """Of a holder of a good certificate: who is let in is not yet an admin."""
    pem = [(folder / name).read_bytes() for name in ("authority.pem", "user.key", "user.pem")]
    options = [("grpc.ssl_target_name_override", NAME)]
    with grpc.secure_channel(secured.url, grpc.ssl_channel_credentials(*pem), options) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.mark.triton
class TestMutualTLS:
    def test_requests_are_answered(self, secured, certified):
        with Client(f"grpcs://{secured.url}", tls=certified("user"), retry=ONCE) as client:
            assert client.server_ready()
            assert [model.name for model in client.models()] == ["double"]
            np.testing.assert_array_equal(client.infer("double", {"x": X})["y"], X * 2)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"name": None}, "the server wants a certificate of ours, and we show none"),
            ({"name": "intruder"}, r"the server refuses our certificate .*intruder\.pem"),
            ({"name": "late"}, r"the server refuses our certificate .*late\.pem \(has it expired"),
            ({"name": "user", "ca": "stranger"}, r"certificate is refused \(.*\); .* signed by .*stranger\.pem"),
            ({"name": "user", "server_name": "other.example"}, "is refused .*mismatch.* one for 'other.example'"),
            (None, "the server wants TLS: say grpcs://"),
        ],
        ids=["no certificate", "another authority", "expired", "wrong authority", "wrong name", "plain text"],
    )
    def test_everybody_else_is_refused_and_told_why(self, secured, certified, settings, words):
        tls = None if settings is None else certified(**settings)
        with Client(secured.url, tls=tls, retry=ONCE) as client, pytest.raises(TLSRefusedError, match=words) as caught:
            client.infer("double", {"x": X})
        assert "\n" not in str(caught.value)
        assert caught.value.exit_status == 2
        assert caught.value.code == grpc.StatusCode.UNAVAILABLE

    def test_the_async_client_says_the_same(self, secured, certified):
        async def ask() -> None:
            async with AsyncClient(secured.url, tls=certified(None), retry=ONCE) as client:
                await client.server_ready()

        with pytest.raises(TLSRefusedError, match="we show none"):
            asyncio.run(ask())

    def test_only_what_was_asked_for_is_open_to_others(self, secured):
        assert secured.ports["metrics"] is None
        listening = {
            connection.laddr.port: connection.laddr.ip
            for connection in psutil.Process(secured.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening.pop(secured.ports["gRPC"]) in ("0.0.0.0", "::")
        assert listening == {secured.ports["HTTP"]: "127.0.0.1"}

    def test_a_server_that_dies_is_brought_back_behind_tls_and_token(self, secured, certified):
        before, token = secured.restarts, secured.admin_token
        psutil.Process(secured.pid).kill()
        assert eventually(lambda: secured.restarts == before + 1 and secured.ready())
        assert secured.admin_token_file.read_text() == f"{token}\n"
        with Client(secured.url, tls=certified("user")) as client:
            np.testing.assert_array_equal(client.infer("double", {"x": X})["y"], X * 2)


@pytest.mark.triton
class TestAdminToken:
    @pytest.mark.parametrize("call", RESTRICTED)
    def test_each_restricted_call_wants_it(self, secured, stub, call):
        for header in [(), [(GRPC_HEADER, make_token())], [(HEADER, secured.admin_token)]]:
            with pytest.raises(grpc.RpcError) as caught:
                getattr(stub, call)(RESTRICTED[call], timeout=30, metadata=header)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "restricted" in caught.value.details()
        answer = getattr(stub, call).with_call
        with contextlib.ExitStack() as stack:
            caught = stack.enter_context(pytest.raises(grpc.RpcError)) if call in LET_IN_AND_REFUSED else None
            answer(RESTRICTED[call], timeout=30, metadata=[(GRPC_HEADER, secured.admin_token)])
        assert caught is None or "restricted" not in caught.value.details()

    @pytest.mark.parametrize("path", RESTRICTED_HTTP)
    def test_each_restricted_call_over_http_wants_it(self, secured, path):
        def ask(headers: dict[str, str]) -> int:
            url = f"http://{secured.http_url}{path}"
            request = urllib.request.Request(url, method=RESTRICTED_HTTP[path], headers=headers)
            with urllib.request.urlopen(request) as answer:
                return answer.status

        for headers in ({}, {HEADER: make_token()}):
            with pytest.raises(urllib.error.HTTPError, match="403") as caught:
                ask(headers)
            caught.value.close()
        assert ask({HEADER: secured.admin_token}) == 200

    def test_no_list_of_processes_shows_it(self, secured):
        everybody_reads = subprocess.run(
            ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
        ).stdout
        assert "@NEURIPS16_GRPC_RESTRICTION" in everybody_reads
        assert secured.admin_token not in everybody_reads

    def test_its_file_is_its_owners_alone(self, secured):
        file = secured.admin_token_file
        assert file.read_text() == f"{secured.admin_token}\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert given_token(file) == secured.admin_token


@pytest.mark.triton
def test_all_of_a_server_is_on_loopback_unless_told_otherwise(server):
    connections = psutil.Process(server.pid).net_connections("tcp")
    open_to = {c.laddr.port: c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    listening = {port: ip.removeprefix("::ffff:") for port, ip in open_to.items()}  # IPv4, by a socket of IPv6
    assert listening == dict.fromkeys(server.ports.values(), "127.0.0.1")
    assert len(listening) == 3


@pytest.mark.triton
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1 << 40),
        (1, (1 << 31) - 1),
        (1 << 40, 1),
        (16, 1 << 36),
        (1, 1 << 62),  # 2^64 bytes, which Triton's own check counts as none
    ],
)
def test_a_shape_that_claims_more_than_was_sent_takes_no_memory(server, shape):
    request = service_pb2.ModelInferRequest(model_name="double")
    request.inputs.add(name="x", datatype="FP32", shape=shape)
    request.raw_input_contents.append(b"" if 1 << 62 in shape else bytes(8))
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    with grpc.insecure_channel(server.url) as channel, pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert process.memory_info().rss - before < 64 << 20
    with Client(server.url) as client:
        np.testing.assert_array_equal(client.infer("double", {"x": X})["y"], X * 2)


PORTS = {"gRPC": 1, "HTTP": 2, "metrics": 3}


def settle(host, *, http_host=None, metrics_host=None, tls=False, insecure_plaintext=False):
    options = {"http_host": http_host, "metrics_host": metrics_host}
    return settle_hosts(host, PORTS, **options, tls=tls, insecure_plaintext=insecure_plaintext)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_beyond_loopback_there_is_no_plain_text_that_was_not_asked_for(host):
    with pytest.raises(SecurityError, match=r"gRPC .*--tls-cert .*--insecure-plaintext .*admin token") as caught:
        settle(host)
    assert caught.value.exit_status == 2
    only_grpc = {"gRPC": 1, "HTTP": None, "metrics": None}
    assert settle(host, tls=True)[1] == settle(host, insecure_plaintext=True)[1] == only_grpc
    with pytest.raises(SecurityError, match=r"HTTP .*has no TLS"):
        settle(host, http_host=host, tls=True)
    with pytest.raises(SecurityError, match=r"HTTP .*has no TLS"):
        settle("127.0.0.1", http_host=host)
    assert settle(host, http_host=host, insecure_plaintext=True)[1] == {**only_grpc, "HTTP": 2}
    hosts, ports = settle(host, metrics_host=host, tls=True)
    assert (hosts["metrics"], ports["metrics"], ports["HTTP"]) == (host, 3, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_loopback_needs_no_tls(host):
    assert settle(host) == (dict.fromkeys(PORTS, host), PORTS)


class TestFiles:
    def test_certificates_that_cannot_be_used_are_refused_before_the_start(self, folder, authority):
        good = (folder / "server.pem", folder / "server.key")
        ServerTLS(*good, authority.path).check()
        with pytest.raises(SecurityError, match=r"late\.pem is valid from .* renew it"):
            ServerTLS(folder / "late.pem", folder / "late.key").check()
        with pytest.raises(SecurityError, match="KEY_VALUES_MISMATCH"):
            ServerTLS(good[0], folder / "user.key").check()
        with pytest.raises(SecurityError, match=r"absent\.pem cannot be read"):
            ServerTLS(*good, folder / "absent.pem").check()
        (folder / "text.pem").write_text("hello")
        with pytest.raises(SecurityError, match=r"text\.pem"):
            ServerTLS(*good, folder / "text.pem").check()
        with pytest.raises(SecurityError, match=r"user\.pem names no host"):
            _ = ServerTLS(folder / "user.pem", folder / "user.key").server_name

    def test_our_own_calls_find_a_name_in_every_certificate(self, authority, folder):
        for names in ({"dns": ("*.cluster.example",)}, {"ip": ("192.0.2.1",)}):
            pair = authority.sign("named", **names)
            assert ServerTLS(*pair).server_name in ("any.cluster.example", "192.0.2.1")

    def test_the_token_comes_from_a_file_or_the_environment(self, tmp_path):
        file, token = tmp_path / "token", make_token()
        assert given_token(None, {}) is None
        assert given_token(None, {"NEURIPS16_ADMIN_TOKEN": token}) == token
        with pytest.raises(SecurityError, match="cannot be read"):
            given_token(file)
        file.write_text(f"{token}\n")
        file.chmod(0o644)
        with pytest.raises(SecurityError, match=r"everybody on this machine .*chmod 600"):
            given_token(file)
        file.chmod(0o640)
        assert given_token(file) == token

    @pytest.mark.parametrize("token", ["", "short", "a" * 300, "with space and so on", "a:b=c,d" * 5, "x" * 20 + "\n"])
    def test_what_can_be_no_token_is_not_repeated(self, token):
        with pytest.raises(SecurityError, match=f"{len(token)} characters, expected 16 to 256") as caught:
            check_token(token, "the file")
        assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], ("gRPC would be in plain text", "--insecure-plaintext")),
        (["--tls-cert", "server.pem"], ("--tls-cert and --tls-key go together",)),
        (["--http-host", "127.0.0.1"], ("--http-port",)),
    ],
)
def test_the_command_says_so_on_one_line(tmp_path, options, words):
    code = "from neurips16.clients.command import main; main()"
    command = [sys.executable, "-c", code, "serve", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_the_command_hands_all_of_it_on(monkeypatch, tmp_path, folder, authority):
    seen = {}

    class Recorder:
        def __init__(self, repositories, **options):
            seen.update(options)
            raise SecurityError("recorded")

    monkeypatch.setattr("neurips16.serving.triton.foreground.TritonServer", Recorder)
    token, file = make_token(), tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    files = {"--tls-cert": folder / "server.pem", "--tls-key": folder / "server.key", "--tls-client-ca": authority.path}
    options = {**files, "--admin-token-file": file, "--host": "::", "--http-host": "::1", "--metrics-host": "192.0.2.1"}
    options |= {"--http-port": 8000, "--memory-limit": "2GiB"}
    words = [str(word) for option in options.items() for word in option]
    monkeypatch.setattr(sys, "argv", ["neurips16", "serve", str(tmp_path), *words, "--insecure-plaintext"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert seen["tls"] == ServerTLS(*files.values())
    assert seen["admin_token"] == token
    assert (seen["host"], seen["http_host"], seen["metrics_host"]) == ("::", "::1", "192.0.2.1")
    assert seen["insecure_plaintext"] is True
    assert (seen["http_port"], seen["memory_limit"]) == (8000, 2 << 30)


def test_there_is_no_http_unless_it_is_asked_for(monkeypatch, tmp_path):
    seen = {}

    class Recorder:
        def __init__(self, repositories, **options):
            seen.update(options)
            raise SecurityError("recorded")

    monkeypatch.setattr("neurips16.serving.triton.foreground.TritonServer", Recorder)
    monkeypatch.setattr(sys, "argv", ["neurips16", "serve", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert seen["http_port"] is None
    assert TritonServer(tmp_path).ports["HTTP"] is None
