"""What was tried on a server by who may only reach it, or is another user of the machine."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from serving_tools import ONE, X_TO_Y, put, times
from tritonclient.grpc import service_pb2, service_pb2_grpc

from neurips16.clients import Client, SequenceStep, new_sequence_id
from neurips16.serving import TritonServer
from neurips16.serving.triton.admin_token import HEADER
from neurips16.serving.triton.memory_limit import SMALLEST, parse_size
from neurips16.serving.triton.run_folder import PREFIX, RunFolder, sweep

X = np.arange(6, dtype=np.float32).reshape(2, 3)
DEEP = b"[" * 4_000_000  # a stack overflow, where it is parsed
BODIES = {
    "deep": (DEEP, {}),
    "deep, compressed": (gzip.compress(DEEP), {"Content-Encoding": "gzip"}),
    "blanks, compressed": (gzip.compress(b" " * (64 << 20)), {"Content-Encoding": "gzip"}),
    "of another host": (b'{"inputs": []}', {"Host": "evil.example", "Origin": "http://evil.example"}),
}
PATHS = [
    *("/v2/models/double/infer", "/v2/models/double/versions/1/infer", "/v2/models/double/generate"),
    *("/v2/models/double/generate_stream", "/v2/repository/index", "/v2/repository/models/double/load"),
    *("/v2/systemsharedmemory/region/r/register", "/v2/cudasharedmemory/region/r/register"),
    *("/v2/logging", "/v2/trace/setting", "/v2/models/double/trace/setting", "/v2/models/double"),
]


def post(url: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(url, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body, headers)
        return connection.getresponse().status


def pid_is_answering(server: TritonServer, pid: int) -> bool:
    with Client(server.url) as client:
        return server.pid == pid and np.array_equal(client.infer("double", {"x": X})["y"], X * 2)


@pytest.mark.triton
class TestHTTP:
    """Any page in a browser on this machine can send such requests."""

    @pytest.mark.parametrize("body", BODIES)
    def test_who_has_no_token_does_not_end_the_server(self, server, body):
        pid = server.pid
        for path in PATHS:
            assert post(server.http_url, path, *BODIES[body]) in (403, 405), path
            assert post(server.http_url, path, BODIES[body][0], {**BODIES[body][1], HEADER: "guessed"}) in (403, 405)
        for path in ("/v2/health/live", "/v2/health/ready", "/", "/metrics"):
            assert post(server.http_url, path, *BODIES[body]) in (400, 404, 405), path
        assert pid_is_answering(server, pid)

    def test_nor_does_a_body_of_small_chunks(self, server):
        pid, (host, port) = server.pid, server.http_url.split(":")
        with socket.create_connection((host, int(port)), timeout=60) as sender:
            sender.sendall(b"POST /v2/models/double/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            sender.sendall(b"1\r\n[\r\n" * 300_000 + b"0\r\n\r\n")
            assert b" 403 " in sender.recv(64)
        assert pid_is_answering(server, pid)

    def test_the_health_is_open(self, server):
        for path in ("/v2/health/live", "/v2/health/ready"):
            connection = http.client.HTTPConnection(server.http_url, timeout=60)
            with contextlib.closing(connection):
                connection.request("GET", path)
                assert connection.getresponse().status == 200

    def test_who_has_the_token_may_infer(self, server):
        body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [2]}]}'
        assert post(server.http_url, "/v2/models/double/infer", body, {HEADER: server.admin_token}) == 200


@pytest.mark.triton
def test_no_other_user_reads_what_a_server_shares_or_keeps(server):
    """Its files in /dev/shm, those that it has open or mapped there, and its run folder."""
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    shared = set()
    for process in family:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            if " /dev/shm/" in line:
                shared.add(Path("/dev/shm") / line.rpartition("/dev/shm/")[2])
    shared |= {path for path in Path("/dev/shm").iterdir() if path.name.startswith(server.admin_token_file.parent.name)}
    open_to_others = [path for path in shared if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    assert not open_to_others
    assert stat.S_IMODE(server.admin_token_file.parent.stat().st_mode) == 0o700
    umask = next(line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "Umask" in line)
    assert umask.split()[1] == "0077"


LIMIT = 512 << 20


@pytest.fixture
def limited(needs_triton, tmp_path) -> Iterator[TritonServer]:
    put(tmp_path, "double", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(2))
    with TritonServer(tmp_path, grpc_port=0, metrics_port=None, memory_limit=LIMIT) as running:
        yield running


@pytest.mark.triton
def test_a_request_that_is_small_on_the_wire_takes_no_more_than_the_limit(limited):
    """256 MB of nulls are some hundred kilobytes on the wire, and made the server take 2.7 GB without a limit."""
    request = service_pb2.ModelInferRequest(model_name="double")
    request.inputs.add(name="x", datatype="FP32", shape=[8, 8 << 20])
    request.raw_input_contents.append(bytes(256 << 20))
    process, peak = psutil.Process(limited.pid), 0
    with grpc.insecure_channel(limited.url, compression=grpc.Compression.Gzip) as channel:
        future = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(request, timeout=300)
        while not future.done():
            with contextlib.suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)
        assert future.exception().code() == grpc.StatusCode.UNAVAILABLE  # it came that far, and the server ended
    assert not psutil.wait_procs([process], timeout=30)[1]
    assert peak < LIMIT + (256 << 20)  # with the files that it maps


@pytest.mark.triton
def test_within_the_limit_it_serves(limited):
    assert pid_is_answering(limited, limited.pid)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 << 30), ("8GiB", 8 << 30), ("512 mb", 512 << 20), ("1T", 1 << 40), (str(1 << 30), 1 << 30)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "8", "-8G", "8X", "1.5G", "100M", "8G8G", "²G", f"{SMALLEST - 1}"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="say 8G"):
        parse_size(text)


@pytest.mark.triton
def test_a_sequence_is_of_who_knows_its_id(server):
    """The server goes on with it on any connection: so ids are secrets, and ours are random."""
    ids = {new_sequence_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(0 < number < 2**63 for number in ids)
    assert max(ids) > 2**60
    assert sum(number % 2 for number in ids) > 300
    mine = new_sequence_id()
    with Client(server.url) as one, Client(server.url) as other:
        one.infer("running", {"x": np.float32([[5]])}, sequence=SequenceStep(mine, start=True))
        answer = other.infer("running", {"x": np.float32([[1]])}, sequence=SequenceStep(mine))["both"]
    np.testing.assert_array_equal(answer, [[6, 10]])


class TestSweep:
    """Everybody may lay what they like into the temporary folder."""

    NAME = f"{PREFIX}0123456789ab"

    @pytest.fixture
    def temporary(self, tmp_path, monkeypatch) -> Path:
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
        return tmp_path / "tmp"

    def left(self, temporary: Path, name: str) -> Path:
        (temporary / name).mkdir()
        (temporary / name / "lock").touch()
        return temporary / name

    def test_our_own_are_removed(self, temporary):
        folder = self.left(temporary, self.NAME)
        sweep()
        assert not folder.exists()

    def test_a_link_is_not_followed(self, temporary, tmp_path):
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "lock").touch()
        (temporary / self.NAME).symlink_to(precious)
        folder = self.left(temporary, f"{PREFIX}abcdefabcdef")
        (folder / "lock").unlink()
        (folder / "lock").symlink_to(precious / "lock")
        sweep()
        assert (precious / "lock").exists()
        assert folder.exists()  # whose lock is none of ours

    def test_a_pipe_does_not_hold_it_up(self, temporary):
        folder = temporary / self.NAME
        folder.mkdir()
        os.mkfifo(folder / "lock")
        sweep()

    def test_names_are_no_patterns(self, temporary):
        for name in (f"{PREFIX}*", f"{PREFIX}[a-z]*", f"{PREFIX}0123456789abc"):
            self.left(temporary, name)
        sweep()
        assert len(list(temporary.iterdir())) == 3

    def test_those_of_others_are_left_alone(self, temporary, monkeypatch):
        folder = self.left(temporary, self.NAME)
        mine = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
        sweep()
        assert folder.exists()

    def test_what_runs_is_left_alone(self, temporary):
        running = RunFolder.create()
        sweep()
        assert running.folder.exists()
        running.remove()
