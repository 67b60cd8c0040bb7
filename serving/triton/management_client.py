"""The server's management calls, over its gRPC port, each with a deadline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import tritonclient.grpc as grpc_client
from tritonclient.utils import InferenceServerException

from neurips16.serving.triton.admin_token import GRPC_HEADER

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

CALL_S = 5.0
LOAD_S = 1800.0  # an accelerator may compile an engine while a model loads

ControlError = InferenceServerException


@dataclass(frozen=True)
class ModelState:
    """One version of a model, as the server's index has it."""

    model: str
    version: str
    state: str  # READY, LOADING, UNLOADING, UNAVAILABLE, or empty for a model that was never asked for
    reason: str

    @property
    def ready(self) -> bool:
        """Whether the server takes it for ready."""
        return self.state == "READY"


class ServerControl:
    """Health and model control of one server. Every call raises `ControlError` when it fails.

    Args:
        url: the server's gRPC service, as HOST:PORT.
        token: the admin token, which the server asks for before it talks about its model repository.
        credentials: where the server has TLS.
        server_name: the name in the server's certificate.
    """

    def __init__(
        self,
        url: str,
        token: str,
        credentials: grpc.ChannelCredentials | None = None,
        server_name: str | None = None,
    ):
        # Without these the channel waits ever longer, up to two minutes, to look again for a server that starts.
        arguments: list[tuple[str, int | str]] = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 100),
        ]
        if server_name is not None:
            arguments.append(("grpc.ssl_target_name_override", server_name))
        self._client = grpc_client.InferenceServerClient(
            url, ssl=credentials is not None, creds=credentials, channel_args=arguments
        )
        self._headers = {GRPC_HEADER: token}

    def live(self) -> bool:
        """Whether the server answers at all."""
        try:
            return self._client.is_server_live(client_timeout=CALL_S)
        except ControlError:
            return False

    def server_version(self) -> str:
        """The server's own version."""
        return self._client.get_server_metadata(client_timeout=CALL_S).version

    def index(self) -> list[ModelState]:
        """Every version of every model of the repositories."""
        answer = self._client.get_model_repository_index(headers=self._headers, client_timeout=CALL_S)
        return [ModelState(m.name, m.version, m.state, m.reason) for m in answer.models]

    def is_ready(self, model: str) -> bool:
        """Whether a model can answer; also one that is in no repository, of which the index says nothing."""
        return self._client.is_model_ready(model, client_timeout=CALL_S)

    def config(self, model: str) -> ModelConfig:
        """The configuration of a model, as the server completed it."""
        return self._client.get_model_config(model, client_timeout=CALL_S).config

    def load(self, model: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Load a model, or what has changed of it.

        Args:
            model: its name.
            config: a configuration, as JSON, in place of the repository's.
            files: the model's files in place of the repository's, by names such as ``file:1/model.onnx``.
        """
        self._client.load_model(
            model, headers=self._headers, config=config, files=dict(files) if files else None, client_timeout=LOAD_S
        )

    def unload(self, model: str) -> None:
        """Unload a model. It answers the requests that it has already."""
        self._client.unload_model(model, headers=self._headers, client_timeout=CALL_S)

    def close(self) -> None:
        """Close the channel."""
        self._client.close()
