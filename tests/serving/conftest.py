"""One real server, on a repository of tiny models, for all tests of this package."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for serving_tools


@pytest.fixture(scope="session")
def needs_triton() -> None:
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("nvidia-pytriton is not installed: pip install 'neurips16[serving]'")


@pytest.fixture(scope="session")
def server(needs_triton, tmp_path_factory) -> Iterator:
    from serving_tools import fill

    from neurips16.serving import TritonServer

    repository = tmp_path_factory.mktemp("repository")
    fill(repository)
    with TritonServer(repository, grpc_port=0, http_port=0, metrics_port=0) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def completing_client(needs_triton, tmp_path_factory) -> Iterator:
    """A client of a server whose models have incomplete configurations."""
    import tritonclient.grpc as grpc_client
    from serving_tools import fill_incomplete

    from neurips16.serving import TritonServer

    repository = tmp_path_factory.mktemp("incomplete")
    fill_incomplete(repository)
    with (
        TritonServer(repository, grpc_port=0, http_port=None, metrics_port=None) as running_server,
        grpc_client.InferenceServerClient(running_server.url) as connected,
    ):
        yield connected


@pytest.fixture
def client(server) -> Iterator:
    import tritonclient.grpc as grpc_client

    with grpc_client.InferenceServerClient(server.url) as connected:
        yield connected
