"""Attacks on a page that really runs, over HTTP: what it opens, for whom, and how much it takes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neurips16.clients.page.dropped_files import read_dropped, refuse_downloads
from neurips16.clients.protocol.errors import InvalidInputError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the page extra")
BOUND = 3 << 20  # of all files, in place of a gigabyte
COLOUR = (230, 153, 0)  # of which the model answers red and green


class Page:
    """The page, as programs see it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder
        self.host = f"127.0.0.1:{port}"

    def ask(self, method, path, body=None, **headers):
        """The status and the body of an answer; header names are given with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            with contextlib.suppress(BrokenPipeError):  # it is refused before all of it was sent
                connection.request(method, path, body, {"Host": self.host, **given})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def upload(self, content, **headers):
        """The status, and the place of the file or the reason."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        status, answer = self.ask("POST", "/gradio_api/upload", body, Content_Type=kind, **headers)
        return (status, json.loads(answer)[0]) if status == 200 else (status, answer.decode())

    def find(self, path):
        """What the tab of objects answers for a file: whatever its outputs hold, or the error, as text."""
        config = json.loads(self.ask("GET", "/config")[1])
        (picture,) = (c["id"] for c in config["components"] if c["props"].get("elem_id") == "detect-picture")
        event = [d for d in config["dependencies"] if picture in d["inputs"]][-1]  # the first is of opening the page
        session = uuid.uuid4().hex
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [file, 0.5], "fn_index": event["id"], "session_hash": session})
        status, answer = self.ask("POST", "/gradio_api/queue/join", body, Content_Type="application/json")
        assert status == 200, answer
        status, answer = self.ask("GET", f"/gradio_api/queue/data?session_hash={session}")
        assert status == 200
        return answer.decode()


# A process of its own: Gradio leaves event loops open, and one process has one page.
SERVE = f"""
import os, signal, sys
from pathlib import Path
from neurips16.clients import Client
from neurips16.clients.page.app import listen, page_app, serve
from neurips16.clients.protocol.messages import ModelStatus
url, *host = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
options = dict(host=host[0], names=host[1:]) if host else dict()
with listen("127.0.0.1", 0) as listener, Client(url) as client:
    client.models = lambda: [ModelStatus("rfcn", "1", ready=True, reason="")]
    with page_app(client, **options) as app:
        app._most = {BOUND}
        print(listener.getsockname()[1], os.environ["GRADIO_TEMP_DIR"], flush=True)
        serve(app, listener)
"""


@contextlib.contextmanager
def running(url, *host):
    command = [sys.executable, "-c", SERVE, url, *host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port, folder = process.stdout.readline().split()
            yield Page(int(port), Path(folder))
        finally:
            process.terminate()
    assert not Path(folder).exists()


@pytest.fixture(scope="module")
def models_url(scoring_repository):
    from ..scoring_models import serve

    servicer, server = serve(scoring_repository)
    yield servicer.url
    server.stop(None).wait()


@pytest.fixture(scope="module")
def page(models_url):
    with running(models_url) as page:
        yield page


def png(side=8, colour=COLOUR) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), colour, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def outside(tmp_path):
    """A picture of the owner's that nobody dropped."""
    path = tmp_path / "secret.png"
    path.write_bytes(png())
    return path


def refused(answer: str) -> bool:
    """Whether nothing of a file came back: Gradio's own refusal, or ours in the status line."""
    return '"success":false' in answer.replace(" ", "") or "was not dropped on this page" in answer


def test_what_was_dropped_is_answered(page):
    status, place = page.upload(png())
    assert status == 200
    answer = page.find(place)
    assert "2 found: 1 red, 1 green." in answer
    assert not refused(answer)


def test_no_other_file_of_the_owners_is_opened(page, outside):
    near = page.folder.parent / f"{page.folder.name}-beside"  # its name begins as the folder's does
    near.mkdir()
    try:
        (near / "a.png").write_bytes(png())
        for path in (outside, "/etc/passwd", f"{page.folder}/../{near.name}/a.png", near / "a.png", "~/x", "a\0b"):
            answer = page.find(str(path))
            assert refused(answer), path
            assert "found:" not in answer
    finally:
        (near / "a.png").unlink()
        near.rmdir()


def test_gradio_checks_paths_itself(page, outside):
    """Before our function is asked: where it hands files on by itself, there is no other check."""
    assert '"success":false' in page.find(str(outside)).replace(" ", "")


def test_what_is_no_file_does_not_hold_the_page(page, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    links = {"to-zero": "/dev/zero", "to-pipe": tmp_path / "pipe", "to-passwd": "/etc/passwd"}
    os.mkfifo(page.folder / "pipe")
    for name, target in links.items():
        (page.folder / name).symlink_to(target)
    try:
        for path in ("/dev/zero", tmp_path / "pipe", page.folder, *(page.folder / name for name in ("pipe", *links))):
            started = time.monotonic()
            assert refused(page.find(str(path))), path
            assert time.monotonic() - started < 10
    finally:
        for name in ("pipe", *links):
            (page.folder / name).unlink()


def test_our_own_check_holds_without_gradio(tmp_path, outside):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "a.png").write_bytes(png())
    assert read_dropped(str(folder / "a.png"), folder) == png()
    (folder / "link").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    bad = [
        outside,
        folder / "link",
        folder / "up/secret.png",
        folder / "pipe",
        folder,
        folder / "none",
        "/dev/zero",
        "\0",
    ]
    for path in map(str, bad):
        with pytest.raises(InvalidInputError, match="was not dropped on this page"):
            read_dropped(path, folder)
    (folder / "large").touch()
    os.truncate(folder / "large", (64 << 20) + 1)
    with pytest.raises(InvalidInputError, match="more than 64 MiB"):
        read_dropped(str(folder / "large"), folder)


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "evil.example:{port}", "10.0.0.1", "", "["])
def test_a_name_that_points_here_is_not_the_pages(page, name):
    """A page elsewhere can make its own name point to this machine, and be of the same origin then."""
    host = name.format(port=page.port)
    for method, path in (("GET", "/config"), ("GET", "/"), ("POST", "/gradio_api/queue/join")):
        assert page.ask(method, path, Host=host)[0] in (400, 421)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_its_own_names_are(page, name):
    for host in (name, f"{name}:{page.port}"):
        assert page.ask("GET", "/config", Host=host)[0] == 200
        assert page.upload(png(), Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost.evil.example"]
)
def test_another_pages_requests_are_refused(page, origin):
    assert page.upload(png(), Origin=origin)[0] == 403
    for path in ("/gradio_api/queue/join", "/gradio_api/run/x", "/gradio_api/reset"):
        assert page.ask("POST", path, "{}", Content_Type="text/plain", Origin=origin)[0] == 403
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    assert page.ask("GET", "/ws", Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==", Origin=origin, **upgrade)[0] == 403
    assert page.ask("GET", "/gradio_api/queue/data?session_hash=a", Origin=origin)[0] == 403


def test_all_files_together_are_bounded(page):
    def lying():
        return sum(path.stat().st_size for path in page.folder.rglob("*") if path.is_file())

    assert page.upload(b"x" * (BOUND + 1))[0] == 413
    statuses = [page.upload(os.urandom(1 << 20))[0] for _ in range(5)]
    assert statuses[0] == 200
    assert statuses[-1] == 413
    assert lying() <= BOUND
    # A body in chunks says nothing of its length.
    chunks = (b"y" * (1 << 20) for _ in range(8))
    with contextlib.suppress(OSError):  # it may be cut off while it is sent
        kind = "multipart/form-data; boundary=b"
        assert page.ask("POST", "/gradio_api/upload", chunks, Content_Type=kind, Transfer_Encoding="chunked")[0] == 413
    assert lying() <= BOUND
    for path in list(page.folder.rglob("*")):
        if path.is_file():
            path.unlink()
    assert page.upload(png())[0] == 200  # there is room again


def test_a_request_that_is_no_upload_is_bounded(page):
    with contextlib.suppress(OSError):
        assert page.ask("POST", "/gradio_api/queue/join", b"[" * (17 << 20), Content_Type="application/json")[0] == 413


@pytest.mark.parametrize("where", ["file=", "proxy=", "file=/", "%66ile="])
def test_nothing_is_fetched_for_others(page, where):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.3)
        url = f"http://localhost:{elsewhere.getsockname()[1]}/x"
        assert page.ask("GET", f"/gradio_api/{where}{url}")[0] in (403, 404)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_a_file_that_is_named_by_its_address_is_not_fetched(monkeypatch):
    """Gradio itself refuses private addresses only, and asks somebody else's resolver about the others."""
    processing_utils = pytest.importorskip("gradio.processing_utils")
    for name in ("ssrf_protected_download", "async_ssrf_protected_download"):
        monkeypatch.setattr(processing_utils, name, getattr(processing_utils, name))  # put back afterwards
    refuse_downloads()
    with pytest.raises(ValueError, match="fetches nothing"):
        asyncio.run(processing_utils.async_ssrf_protected_download("https://host.example/x.png", "/tmp"))
    with pytest.raises(ValueError, match="fetches nothing"):
        processing_utils.ssrf_protected_download("https://host.example/x.png", "/tmp")


def test_only_the_pages_files_are_handed_out(page, outside):
    place = page.upload(png())[1]
    assert page.ask("GET", f"/gradio_api/file={place}") == (200, png())
    for path in (outside, "/etc/passwd", f"{page.folder}/../../etc/passwd"):
        assert page.ask("GET", f"/gradio_api/file={path}")[0] in (403, 404)


def test_an_example_is_answered_and_nothing_beside_it(models_url, tmp_path):
    with running(models_url) as page:
        config = json.loads(page.ask("GET", "/config")[1])
        (samples,) = (c["props"]["samples"] for c in config["components"] if c["type"] == "dataset")
        assert "2 found" in page.find(samples[0][0]["path"])


def test_a_page_for_others_goes_by_the_names_that_it_is_given(models_url):
    with running(models_url, "0.0.0.0", "models.example") as page:
        for name, status in {"models.example": 200, "10.1.2.3:80": 200, "[fe80::1]": 200, "evil.example": 421}.items():
            assert page.ask("GET", "/config", Host=name)[0] == status
