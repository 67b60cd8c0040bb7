"""The chart, rendered by Helm's own engine, and a real Triton that is started with the command line in it."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # for deploy_tools

from deploy_tools import CHART, DEPLOY, DIGEST, MODEL, ROOT, TOKEN, container, free_port

if TYPE_CHECKING:
    from neurips16.serving.triton.process import ServerProcess


@pytest.fixture(scope="session")
def render() -> Iterator[Callable[..., list[dict]]]:
    """Renders the chart with values, given as keywords; the manifests."""
    helm = pytest.importorskip("helm_python", reason="Helm's engine comes with pip: neurips16[deploy]")
    with helm.Chart.load(CHART) as chart:

        def render(**values: object) -> list[dict]:
            texts = chart.render({"image": {"digest": DIGEST}, **values}, name="demo", namespace="models")
            documents = [d for path, text in texts.items() if path.endswith(".yaml") for d in yaml.safe_load_all(text)]
            return [document for document in documents if document]

        yield render


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What deploy/compose/certificates.sh makes for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("the certificates are made with openssl, which is not here")
    folder = tmp_path_factory.mktemp("tls") / "tls"
    script = DEPLOY / "compose/certificates.sh"
    subprocess.run([script, folder, "localhost", "127.0.0.1"], check=True, capture_output=True)
    return folder


@dataclass(frozen=True)
class Server:
    """A running Triton."""

    grpc: str
    http: str
    metrics: str
    process: ServerProcess


@contextlib.contextmanager
def start(arguments: Sequence[str], certificates: Path, folder: Path) -> Iterator[Server]:
    """Triton from pip with the chart's own command line but for folders, addresses and ports; ready inside."""
    from neurips16.serving.triton.installation import find_backend, find_onnxruntime, find_preload, find_triton
    from neurips16.serving.triton.process import ServerProcess
    from neurips16.serving.triton.run_folder import server_environment

    shutil.copytree(ROOT / "serving/models" / MODEL, folder / MODEL)
    ports = {old: str(free_port()) for old in ("8000", "8001", "8002")}
    places = {
        "/models": str(folder),
        "/etc/neurips16/tls": str(certificates),
        "0.0.0.0": "127.0.0.1",
        "$(NEURIPS16_ADMIN_TOKEN)": TOKEN,
    }
    here = []
    for argument in arguments:
        option, value = argument.split("=", 1)
        value = ports.get(value, value)
        for old, new in places.items():
            value = value.replace(old, new)
        here.append(f"{option}={value}")

    binary = find_triton()
    here.append(f"--backend-directory={find_backend().parents[1]}")
    here.append(f"--backend-config=onnxruntime,library={find_onnxruntime()}")
    log: list[str] = []
    environment = {**server_environment([binary.libraries]), "CUDA_VISIBLE_DEVICES": ""}
    process = ServerProcess([str(binary.executable), *here], environment, find_preload(), 40.0, log.append)
    process.start()
    server = Server(*(f"localhost:{ports[old]}" for old in ("8001", "8000", "8002")), process)
    try:
        deadline = time.monotonic() + 120
        # The metrics are the last service to open.
        while {status(f"http://{server.http}/v2/health/ready"), status(f"http://{server.metrics}/metrics")} != {200}:
            assert process.poll() is None, "\n".join(log[-30:])
            assert time.monotonic() < deadline, "\n".join(log[-30:])
            time.sleep(0.2)
        yield server
    finally:
        process.stop()


@pytest.fixture(scope="session")
def start_triton(render, certificates, tmp_path_factory) -> Callable[[], contextlib.AbstractContextManager[Server]]:
    """Starts a Triton with the chart's command line."""
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("nvidia-pytriton is not installed: pip install 'neurips16[serving]'")
    arguments = container(render(gpu={"count": 0}))["args"]
    return lambda: start(arguments, certificates, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def triton(start_triton) -> Iterator[Server]:
    """One Triton with the chart's command line, for all tests."""
    with start_triton() as server:
        yield server


def status(url: str, headers: dict[str, str] | None = None) -> int:
    """The status of an answer over HTTP, 0 when nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@pytest.fixture(scope="session")
def http_status() -> Callable[..., int]:
    return status
