"""What `neurips16 serve` does: prepare the repositories, start the server, follow it, stop it at a signal."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from neurips16.serving.errors import ServerFailedError
from neurips16.serving.repository import prepare_model
from neurips16.serving.signature import verify_model
from neurips16.serving.triton.admin_token import HEADER
from neurips16.serving.triton.server import TritonServer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from neurips16.serving.triton.tls import ServerTLS

logger = logging.getLogger("neurips16.serving")

POLL_S = 0.2


class Service:
    """One run of the server in the foreground.

    Args:
        repositories: the model repositories.
        host: the address to listen on.
        ports: of gRPC, HTTP and metrics; 0 takes a free one, None leaves HTTP out.
        http_host, metrics_host, tls, insecure_plaintext, admin_token: as `TritonServer` has them.
        models: the models to load, None for all.
        model_control: what becomes of them later, as `TritonServer` has it.
        memory_limit: bytes that the server may take, None for as much as there is.
        op_libraries: as `TritonServer` has them.
        keep_versions: how many of the newest versions of each model are served, None for all.
        verify: the key with which every model must be signed, None to take models unsigned.
        timeout_s: how long they may take to load.
        verbose: show all that the server says, not only what needs attention.
    """

    def __init__(
        self,
        repositories: Sequence[Path],
        *,
        host: str,
        ports: tuple[int, int | None, int],
        http_host: str | None,
        metrics_host: str | None,
        tls: ServerTLS | None,
        insecure_plaintext: bool,
        admin_token: str | None,
        models: Sequence[str] | None,
        model_control: str,
        memory_limit: int | None,
        op_libraries: Sequence[str],
        keep_versions: int | None,
        verify: Ed25519PublicKey | None,
        timeout_s: float,
        verbose: bool,
    ):
        grpc_port, http_port, metrics_port = ports
        self._keep_versions, self._verify = keep_versions, verify
        self._server = TritonServer(
            list(repositories),
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=metrics_port,
            http_host=http_host,
            metrics_host=metrics_host,
            tls=tls,
            insecure_plaintext=insecure_plaintext,
            admin_token=admin_token,
            models=models,
            model_control=model_control,
            memory_limit=memory_limit,
            before_load=self._prepare,
            strict=False,
            op_libraries=op_libraries,
        )
        self._http = http_port is not None
        self._timeout_s = timeout_s
        self._verbose = verbose
        self._stopping = threading.Event()

    def _prepare(self, model_dir: Path) -> None:
        """Let a model pass before it is loaded: signed where it must be, and with a configuration."""
        if self._verify is not None:
            verify_model(model_dir, self._verify)
        prepare_model(model_dir, keep_versions=self._keep_versions)

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            ServingError: it could not start, or ended by itself and cannot be started again.
        """
        self._follow_log()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            while not self._stopping.wait(POLL_S):
                failure = self._server.failure()
                if failure is not None:
                    raise ServerFailedError(failure)
        finally:
            self._server.stop()
        logger.info("stopped")

    def _start(self) -> None:
        self._server.start()
        if self._server.wait_ready(self._timeout_s, abandon=self._stopping):
            self._say_ready()

    def _say_ready(self) -> None:
        models = ", ".join(sorted(self._server.models))
        token = self._server.admin_token_file
        ports = self._server.ports
        services = [f"{self._server.url} (gRPC)"]
        services += [] if ports["HTTP"] is None else [f"{self._server.http_url} (HTTP)"]
        services += [] if ports["metrics"] is None else [f"{self._server.metrics_url} (metrics)"]
        logger.info("ready: %s at %s; admin token in %s; Ctrl-C stops", models, ", ".join(services), token)
        if ports["HTTP"] is not None:
            logger.info("HTTP: health for all, the rest with the header %s", HEADER)
        elif self._http:
            logger.info("HTTP: left out beyond loopback, where --http-host would open it")
        if ports["metrics"] is None:
            logger.info("metrics: left out beyond loopback, where --metrics-host would open them")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping.is_set():  # asked twice: do not wait for the requests in hand
            self._server.kill()
        self._stopping.set()

    def _follow_log(self) -> None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
        root = logging.getLogger("neurips16")
        root.addHandler(handler)
        root.setLevel(logging.DEBUG if self._verbose else logging.INFO)
