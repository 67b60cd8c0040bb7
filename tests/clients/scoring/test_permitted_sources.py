"""What a cell of a table may open, tried with cells that mean harm."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import os
import socket
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.scoring.job import score
from neurips16.clients.scoring.permitted_sources import PermittedSources
from neurips16.clients.scoring.worker import InProcess, ShardWorker
from neurips16.clients.tasks.detect.score import DetectTask

job_module = importlib.import_module("neurips16.clients.scoring.job")
CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def folders(tmp_path):
    """The table's folder, and a secret beside it."""
    for name in ("own", "own/sub", "own-too", "other"):
        (tmp_path / name).mkdir()
    for name in ("own/a.png", "own/sub/b.png", "own-too/secret.png", "other/secret.png"):
        (tmp_path / name).write_bytes(CONTENT)
    (tmp_path / "own/link.png").symlink_to(tmp_path / "other/secret.png")
    (tmp_path / "own/out").symlink_to(tmp_path / "other")
    (tmp_path / "own/within.png").symlink_to("sub/b.png")
    os.mkfifo(tmp_path / "own/pipe")
    return tmp_path


@pytest.fixture
def site():
    """A server on this machine: gives files, tells who asked for what, and redirects where it is asked to."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.headers["Host"], self.path))
            if "to=" in self.path:
                self.send_response(302)
                self.send_header("Location", self.path.partition("to=")[2])
                self.end_headers()
                return
            found = self.path.startswith(("/own/", "/other/"))
            self.send_response(200 if found else 404)
            if "endless" not in self.path:
                self.send_header("Content-Length", str(len(CONTENT) if found else 0))
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(10_000 if "endless" in self.path else found):
                    self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.port = asked, server.server_port
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_tables_own_folder_is_open(folders):
    permitted = PermittedSources(str(folders / "own"))
    for value, file in {
        "a.png": "a.png",
        "sub/b.png": "sub/b.png",
        "./sub/../a.png": "a.png",
        "within.png": "sub/b.png",
        str(folders / "own/a.png"): "a.png",
    }.items():
        assert permitted.open(value) == folders / "own" / file


@pytest.mark.parametrize(
    "value",
    [
        "../other/secret.png",
        "sub/../../other/secret.png",
        "../own-too/secret.png",
        "{root}/other/secret.png",
        "/etc/passwd",
        "link.png",
        "out/secret.png",
        "file:///etc/passwd",
        "FILE://{root}/own/a.png",
        "http://127.0.0.1:1/x",
        "s3://bucket/key",
        "hf://datasets/x/y",
        "//host/x",
    ],
)
def test_and_nothing_else(folders, value):
    with pytest.raises(InvalidInputError, match="input's own folder: name what else may be opened with --allow-paths"):
        PermittedSources(str(folders / "own")).open(value.format(root=folders))


def test_what_is_no_file_is_refused(folders):
    permitted = PermittedSources(str(folders / "own"))
    for value, reason in {
        "pipe": "no regular file",
        "sub": "no regular file",
        "no": "does not exist",
        "a\0": "cannot be",
    }.items():
        with pytest.raises(InvalidInputError, match=reason):
            permitted.open(value)
    with pytest.raises(InvalidInputError, match="no regular file"):
        PermittedSources("/own", ("/dev",)).open("/dev/zero")


def test_a_prefix_opens_what_it_names(folders):
    permitted = PermittedSources(str(folders / "own"), (str(folders / "other"),))
    for value in ("../other/secret.png", "link.png", "out/secret.png"):
        assert permitted.open(value) == folders / "other/secret.png"
    with pytest.raises(InvalidInputError, match="not below"):
        permitted.open("../own-too/secret.png")
    with pytest.raises(InvalidInputError, match="has more than 1000 bytes: allow more with --max-file-bytes"):
        PermittedSources(str(folders / "own"), (), 1000).open("a.png")


def test_a_table_on_the_web_names_files_beside_it(site):
    permitted = PermittedSources(f"{site.url}/own")
    assert permitted.open("a.png") == permitted.open(f"{site.url}/own/a.png") == CONTENT
    assert permitted.open("x?to=/own/a.png") == CONTENT  # a redirect within the folder
    with pytest.raises(InvalidInputError, match="404"):
        PermittedSources(site.url).open("none.png")
    asked = len(site.asked)
    for value in (
        f"{site.url}/other/secret.png",
        f"{site.url}/own-too/x",
        "../other/secret.png",
        "%2e%2e/other/secret.png",
        "%252e%252e/other/x",
        "..%5cother/x",
        f"http://127.0.0.1:{site.port}@evil.example/own/x",
        f"http://user@127.0.0.1:{site.port}/own/x",
        f"https://127.0.0.1:{site.port}/own/x",
        "/etc/passwd",
        "file:///etc/passwd",
        "s3://own/x",
    ):
        with pytest.raises(InvalidInputError, match="not below"):
            permitted.open(value)
    assert len(site.asked) == asked


def test_a_redirect_leads_nowhere_else(site):
    permitted = PermittedSources(f"{site.url}/own")
    for place in ("/other/secret.png", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd"):
        with pytest.raises(InvalidInputError, match="not below"):
            permitted.open(f"x?to={place}")
    with pytest.raises(InvalidInputError, match="more than 5 redirects"):
        permitted.open("x?to=?to=")
    assert all(path.startswith("/own/") for _, path in site.asked)


def test_a_name_that_leads_to_a_private_network_is_refused(site, monkeypatch):
    """Whoever owns a name may let it point to anything, and to another address with each look."""
    looked = []

    def resolve(host, port, **_):
        looked.append(host)
        address = addresses[min(len(looked), len(addresses)) - 1]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    permitted = PermittedSources("/own", (f"http://public.example:{site.port}/",))
    for address in (
        "127.0.0.1",
        "10.0.0.5",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "::ffff:0:7f00:1",
        "::127.0.0.1",
        "fec0::1",
        "192.88.99.1",
        "2002:7f00:1::",
        "224.0.0.1",
    ):
        addresses = [address]
        with pytest.raises(InvalidInputError, match="which is no public address"):
            permitted.open(f"http://public.example:{site.port}/own/a.png")
    assert site.asked == []
    # Public at the first look and this machine at the second: there is no second.
    connected = []

    def connect(address, timeout):
        connected.append(address)
        raise OSError("not in a test")

    monkeypatch.setattr(socket, "create_connection", connect)
    addresses = ["93.184.215.14", "127.0.0.1"]
    looked.clear()
    with pytest.raises(InvalidInputError, match="not in a test"):
        permitted.open(f"http://public.example:{site.port}/own/a.png")
    assert (looked, connected) == (["public.example"], [("93.184.215.14", site.port)])


def test_an_address_that_the_user_spells_is_asked(site):
    url = f"http://127.0.0.1:{site.port}"
    assert PermittedSources("/own", (f"{url}/own/",)).open(f"{url}/own/a.png") == CONTENT
    by_name = f"http://localhost:{site.port}/own"
    assert PermittedSources("/own", (by_name,)).open(f"{by_name}/a.png") == CONTENT
    assert site.asked[-1][0] == f"localhost:{site.port}"


def test_what_is_read_has_a_bound(site):
    permitted = PermittedSources(site.url, (), 2_000_000)
    with pytest.raises(InvalidInputError, match="has more than 2000000 bytes"):
        permitted.open("own/endless")
    assert PermittedSources(site.url, (), len(CONTENT)).open("own/a") == CONTENT


def test_a_key_of_object_storage_is_a_text(monkeypatch):
    opened = []
    monkeypatch.setattr(PermittedSources, "_from_storage", lambda self, url, value: opened.append(url) or b"x")
    permitted = PermittedSources("s3://bucket/dir")
    for value in ("a b.png", "a#1?.png", "s3://bucket/dir/sub/x.png"):
        assert permitted.open(value) == b"x"
    assert opened == ["s3://bucket/dir/a b.png", "s3://bucket/dir/a#1?.png", "s3://bucket/dir/sub/x.png"]
    for value in (
        "s3://bucket/dir-too/x",
        "s3://other/dir/x",
        "../x",
        "s3://bucket/dir?x",
        "S3A://bucket/dir/x",
        "s3://bucket",
    ):
        with pytest.raises(InvalidInputError, match="not below"):
            permitted.open(value)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_hostile_table_costs_its_rows_and_opens_nothing(scoring_repository, folders, site, allowed, monkeypatch):
    monkeypatch.setattr(job_module, "score_shards", lambda job, shards, **_: map(ShardWorker(job).score, shards))
    Image.new("RGB", (8, 8), (230, 153, 0)).save(folders / "own/good.png")
    Image.new("RGB", (8, 8), (230, 153, 0)).save(folders / "other/secret.png")
    cells = [
        "good.png",
        "../other/secret.png",
        f"{site.url}/own/x",
        "file:///etc/passwd",
        "/dev/zero",
        "s3://a/b",
        "pipe",
    ]
    (folders / "own/table.csv").write_text("file\n" + "\n".join(cells) + "\n")
    summary = score(
        DetectTask(),
        str(folders / "own/table.csv"),
        folders / "out",
        host=InProcess(scoring_repository),
        max_error_share=1.0,
        allow_paths=[str(folders / "other")] if allowed else [],
    )
    assert (summary.rows, summary.failed) == (7, 5 if allowed else 6)
    errors = pq.read_table(folders / "out/errors").to_pylist()
    wanted = cells[2:] if allowed else cells[1:]
    assert [row["key"] for row in errors] == [f"table.csv:{cells.index(cell)}" for cell in wanted]
    assert all(row["error"] == "InvalidInputError" and "\n" not in row["reason"] for row in errors)
    assert site.asked == []
