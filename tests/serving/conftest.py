"""One real server, on a repository of tiny models, for all tests of this room."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for serving_tools

BACKEND = Path(__file__).parents[2] / "serving" / "backends" / "onnxruntime"


@pytest.fixture(scope="session")
def needs_triton() -> None:
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("nvidia-pytriton is not installed: pip install 'neurips16[serving]'")


@pytest.fixture(scope="session")
def server(needs_triton, tmp_path_factory) -> Iterator:
    from neurips16.serving import TritonServer
    from serving_tools import fill

    repository = tmp_path_factory.mktemp("repository")
    fill(repository)
    with TritonServer(repository, grpc_port=0, http_port=0, metrics_port=None) as running_server:
        yield running_server


@pytest.fixture
def client(server) -> Iterator:
    import tritonclient.grpc as grpc_client

    with grpc_client.InferenceServerClient(server.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def backend_modules() -> Iterator[None]:
    """Lets the backend's modules be imported by the bare names they have in the stub."""
    sys.path.insert(0, str(BACKEND))
    yield
    sys.path.remove(str(BACKEND))
