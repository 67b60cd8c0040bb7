"""A real Triton takes the chart's command line, and does with it what the chart says."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from deploy_tools import MODEL, TOKEN

from neurips16.clients.tasks.rank_premises.words import word_hashes
from neurips16.serving.triton.admin_token import GRPC_HEADER, HEADER

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def connect(triton, certificates):
    """Connects with the certificates of a client, or without."""
    import tritonclient.grpc as grpc_client

    opened = []

    def connect(with_certificate: bool):
        own = {}
        if with_certificate:
            own = {
                "private_key": str(certificates / "client.key"),
                "certificate_chain": str(certificates / "client.crt"),
            }
        root = str(certificates / "ca.crt")
        client = grpc_client.InferenceServerClient(triton.grpc, ssl=True, root_certificates=root, **own)
        opened.append(client)
        return client

    yield connect
    for client in opened:
        client.close()


def test_a_client_with_a_certificate_is_answered(connect):
    import tritonclient.grpc as grpc_client

    words = word_hashes("! [A] : subset(A, A)")[None]
    given = grpc_client.InferInput("words", words.shape, "INT64")
    given.set_data_from_numpy(words)
    answer = connect(True).infer(MODEL, [given], client_timeout=60).as_numpy("premise_embedding")
    assert answer.shape[0] == 1
    assert np.isfinite(answer).all()


def test_a_client_without_is_not(connect):
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException) as caught:
        connect(False).is_server_live(client_timeout=10)
    assert caught.value.status() == str(grpc.StatusCode.UNAVAILABLE)


def test_plaintext_is_not_understood(triton):
    import tritonclient.grpc as grpc_client
    from tritonclient.utils import InferenceServerException

    with grpc_client.InferenceServerClient(triton.grpc) as client, pytest.raises(InferenceServerException):
        client.is_server_live(client_timeout=10)


CONTROLS = {
    "model-repository": lambda client, headers: client.get_model_repository_index(headers, client_timeout=10),
    "shared-memory": lambda client, headers: client.get_system_shared_memory_status(headers=headers, client_timeout=10),
    "trace": lambda client, headers: client.get_trace_settings(headers=headers, client_timeout=10),
    "logging": lambda client, headers: client.get_log_settings(headers=headers, client_timeout=10),
}


@pytest.mark.parametrize("call", CONTROLS.values(), ids=CONTROLS)
def test_controls_are_for_who_has_the_token(connect, call):
    from tritonclient.utils import InferenceServerException

    client = connect(True)
    for headers in (None, {GRPC_HEADER: "another"}):
        with pytest.raises(InferenceServerException):
            call(client, headers)
    assert call(client, {GRPC_HEADER: TOKEN}) is not None


def test_http_answers_probes_and_nothing_else(triton, http_status):
    for path in ("live", "ready"):
        assert http_status(f"http://{triton.http}/v2/health/{path}") == 200
    for path in (
        "",
        f"/models/{MODEL}",
        f"/models/{MODEL}/config",
        f"/models/{MODEL}/stats",
        "/trace/setting",
        "/logging",
        "/systemsharedmemory/status",
    ):
        assert http_status(f"http://{triton.http}/v2{path}") == 403, path
    assert http_status(f"http://{triton.http}/v2", {HEADER: TOKEN}) == 200


def test_the_certificates_name_the_server(certificates: Path):
    """The keys are the owner's alone, and the names are those that were given."""
    shown = ["openssl", "x509", "-in", certificates / "tls.crt", "-noout", "-ext", "subjectAltName"]
    text = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert "DNS:localhost, IP Address:127.0.0.1" in text
    for key in certificates.glob("*.key"):
        assert key.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in certificates.iterdir()) == [
        "ca.crt",
        "ca.key",
        "client.crt",
        "client.key",
        "tls.crt",
        "tls.key",
    ]


def test_what_is_in_hand_is_answered_when_it_is_stopped(start_triton, certificates):
    """SIGTERM, as from Kubernetes: the grace that is granted is worth something."""
    import tritonclient.grpc as grpc_client

    words = np.arange(1, 64 * 1024 + 1).reshape(64, 1024)  # a full batch: no two are joined
    given = grpc_client.InferInput("words", words.shape, "INT64")
    given.set_data_from_numpy(words)
    own = {"private_key": str(certificates / "client.key"), "certificate_chain": str(certificates / "client.crt")}
    answers: queue.Queue = queue.Queue()
    with (
        start_triton() as server,
        grpc_client.InferenceServerClient(
            server.grpc, ssl=True, root_certificates=str(certificates / "ca.crt"), **own
        ) as client,
    ):
        for _ in range(12):
            client.async_infer(MODEL, [given], lambda result, error: answers.put(error or result), client_timeout=60)
        deadline = time.monotonic() + 30
        # All are with the server: one is being answered, the others are answered or wait.
        while _counted(server.metrics, "nv_inference_pending_request_count") + answers.qsize() < 11:
            assert time.monotonic() < deadline
        assert answers.qsize() < 10, "too fast to be stopped amid it"
        os.kill(server.process.pid, signal.SIGTERM)
        for _ in range(12):
            answer = answers.get(timeout=60)
            assert isinstance(answer, grpc_client.InferResult), str(answer)
            assert answer.as_numpy("premise_embedding").shape[0] == 64
        assert server.process.wait(60) == 0


def _counted(metrics: str, name: str) -> float:
    with urllib.request.urlopen(f"http://{metrics}/metrics") as answer:
        return sum(float(line.split()[-1]) for line in answer.read().decode().splitlines() if line.startswith(name))
