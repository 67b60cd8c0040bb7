"""How to reach a server: its address, time limits, retries, TLS, headers and message sizes.

Both clients hold one `Connection` and make their channel from it. All parts are small frozen values with finite
defaults. What is not given comes from the environment: ``NEURIPS16_URL`` (else localhost:8001), ``NEURIPS16_TLS_CA``,
``NEURIPS16_TLS_CERTIFICATE``, ``NEURIPS16_TLS_KEY``, ``NEURIPS16_AUTHORIZATION`` (sent as the header of that name),
``NEURIPS16_ADMIN_TOKEN`` (sent as the header that `neurips16 serve` asks for) and ``NEURIPS16_MAX_MESSAGE_BYTES``. The
two credentials are sent over TLS or to this machine only; others may read what goes to a remote grpc:// address.
"""

from __future__ import annotations

import ipaddress
import os
import random
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from neurips16.clients.protocol.errors import InvalidInputError

ADMIN_HEADER = "triton-grpc-protocol-neurips16-admin"
DEFAULT_PORT = 8001
DEFAULT_URL = f"localhost:{DEFAULT_PORT}"
# Triton drops a channel whose pings come more often than every 300 s (its --grpc-http2-min-recv-ping-interval...).
KEEPALIVE_MS = 310_000
KEEPALIVE_TIMEOUT_MS = 20_000
# How long one attempt to connect may take, TLS handshake and all: gRPC gives this the name of a wait, but it is none.
CONNECT_MS = 10_000
RECONNECT_MS = (
    100,
    2_000,
)  # first and longest wait between gRPC's own attempts to connect; its default is 1 s to 120 s
MAX_INT32 = 2**31 - 1  # of bytes: gRPC counts no further
# What the inputs and outputs of our models can need: a request holds an image as large as `read_image` decodes it. gRPC
# holds a compressed message to it, too, from 1.85 on; 1.80 and before decompressed the whole first.
MAX_MESSAGE_BYTES = 256 << 20
# A Triton from pip says INTERNAL for a model whose process has died, and NOT_FOUND while it loads the model again: for
# seconds. A model that fails at its input says INTERNAL, too, each time it is asked.
MODEL_MAY_RETURN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND})

_URL = re.compile(
    r"(?:(?P<scheme>[a-z0-9+.-]+)://)?(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s:/@\[\]]+)(?::(?P<port>\d{1,5}))?/?"
)
_HEADER = re.compile(r"[a-z0-9_.-]+")


@dataclass(frozen=True)
class Timeout:
    """How long a call may take, all its attempts together."""

    infer_s: float = 60.0  # inference
    control_s: float = 10.0  # everything else: readiness, configurations

    def __post_init__(self) -> None:
        for name in ("infer_s", "control_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InvalidInputError(
                    f"Timeout.{name} is a finite number of seconds over 0, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Retry:
    """How often a call is tried again, by default after UNAVAILABLE only: exponential backoff with full jitter."""

    attempts: int = 5  # the first included; 1 means no retry
    initial_s: float = 0.1  # the longest wait before the second attempt; it doubles with each further one
    max_s: float = 2.0
    codes: frozenset[grpc.StatusCode] = frozenset({grpc.StatusCode.UNAVAILABLE})  # after which; see MODEL_MAY_RETURN

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.initial_s < 0 or self.max_s < self.initial_s:
            raise InvalidInputError(f"Retry wants attempts >= 1 and 0 <= initial_s <= max_s, got {self}")

    def delay_s(self, failures: int, draw: Any = random.random) -> float:
        """The wait after this many failures: anything from 0 up to the bound, so that clients do not come in step."""
        doublings = min(failures - 1, 64)  # a patient client's failures would overflow a float
        return draw() * min(self.max_s, self.initial_s * 2**doublings)


@dataclass(frozen=True)
class TLS:
    """Files in PEM form. Without ``ca`` the system's authorities count; certificate and key make the TLS mutual."""

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None  # where the certificate's name is not the host in the URL

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidInputError("TLS wants a certificate and its key together, or neither")

    @classmethod
    def from_environment(cls) -> TLS | None:
        """What the ``NEURIPS16_TLS_…`` variables say; None when none is set."""
        given = {name: os.environ.get(f"NEURIPS16_TLS_{name.upper()}") for name in ("ca", "certificate", "key")}
        return cls(**given) if any(given.values()) else None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            InvalidInputError: a file cannot be read, or does not hold what it should.
        """
        # gRPC would say nothing of a wrong file before a connection fails; the standard library looks into it now.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca is not None:
                context.load_verify_locations(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password="")  # nosec B106: gRPC takes no encrypted key
        except ssl.SSLError as error:
            given = f"ca={self.ca}, certificate={self.certificate}, key={self.key}"
            raise InvalidInputError(
                f"the TLS files ({given}) are not a certificate and its key in PEM form: {error.reason or error}"
            ) from error
        except OSError as error:
            given = ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path is not None)
            raise InvalidInputError(f"a TLS file of {given} cannot be read: {error.strerror}") from error
        return grpc.ssl_channel_credentials(*(_pem(path) for path in (self.ca, self.key, self.certificate)))


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str  # an IPv6 address in brackets
    port: int = DEFAULT_PORT
    secure: bool | None = None  # None: the URL did not say

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, by its usual names."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:  # a name
            return False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read HOST, HOST:PORT, grpc://HOST:PORT or, for TLS, grpcs://HOST:PORT.

        Raises:
            InvalidInputError: it is none of these.
        """
        match = _URL.fullmatch(url.strip())
        scheme = match["scheme"] if match else None
        port = int((match and match["port"]) or DEFAULT_PORT)
        if match is None or scheme not in (None, "grpc", "grpcs") or not 0 < port < 2**16:
            raise InvalidInputError(
                f"the URL {url!r} is not HOST:PORT, grpc://HOST:PORT or grpcs://HOST:PORT (TLS) of a server's gRPC port"
            )
        return cls(match["host"], port, None if scheme is None else scheme == "grpcs")


@dataclass(frozen=True)
class Connection:
    """Everything that a client knows before its first call."""

    address: Address
    timeout: Timeout = Timeout()
    retry: Retry = Retry()
    tls: TLS | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    max_in_flight: int = 4  # requests of one operation that are under way at the same time
    max_message_bytes: int = MAX_MESSAGE_BYTES

    @classmethod
    def of(
        cls,
        url: str | None = None,
        *,
        timeout: Timeout | None = None,
        retry: Retry | None = None,
        tls: TLS | None = None,
        headers: Mapping[str, str] | None = None,
        max_in_flight: int = 4,
        max_message_bytes: int | None = None,
    ) -> Connection:
        """Fill what is not given from the environment and the defaults.

        Raises:
            InvalidInputError: a value cannot be used, or the URL says grpc:// where TLS is asked for.
        """
        address = Address.parse(url or os.environ.get("NEURIPS16_URL") or DEFAULT_URL)
        tls = tls or TLS.from_environment() or (TLS() if address.secure else None)
        if tls and address.secure is False:
            raise InvalidInputError(f"grpc://{address} means no TLS, but TLS is configured: say grpcs://{address}")
        if headers is None:
            headers = _credentials() if tls or address.is_loopback else {}
        if max_message_bytes is None:
            max_message_bytes = _whole_number("NEURIPS16_MAX_MESSAGE_BYTES", MAX_MESSAGE_BYTES)
        if max_in_flight < 1 or not 0 < max_message_bytes <= MAX_INT32:
            raise InvalidInputError(
                f"max_in_flight is at least 1 and max_message_bytes 1 to {MAX_INT32}, "
                f"got {max_in_flight} and {max_message_bytes}"
            )
        metadata = tuple((name.lower(), value) for name, value in headers.items())  # gRPC takes lower case only
        for name, value in metadata:
            if not _HEADER.fullmatch(name) or not (value.isascii() and value.isprintable()):
                raise InvalidInputError(f"header {name!r}: names are of a-z 0-9 _ . -, values are printable ASCII")
        return cls(address, timeout or Timeout(), retry or Retry(), tls, metadata, max_in_flight, max_message_bytes)

    @property
    def url(self) -> str:
        """The address as errors show it."""
        return str(self.address)

    def options(self) -> list[tuple[str, Any]]:
        """The channel's options."""
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
            ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS[0]),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MS[1]),
            # Clients must not share a connection, and with it one another's backoff, behind their backs.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self.address.is_loopback:
            options.append(("grpc.enable_http_proxy", 0))  # gRPC would ask an http_proxy even for this machine
        if self.tls and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options

    def channel(self, module: Any) -> Any:
        """A channel of ``module``, which is ``grpc`` or ``grpc.aio``.

        Raises:
            InvalidInputError: a file of the TLS settings cannot be read.
        """
        if self.tls:
            return module.secure_channel(self.url, self.tls.credentials(), options=self.options())
        return module.insecure_channel(self.url, options=self.options())


def _credentials() -> dict[str, str]:
    """The headers that the environment gives; only for a server to which nobody listens in."""
    given = {"authorization": "NEURIPS16_AUTHORIZATION", ADMIN_HEADER: "NEURIPS16_ADMIN_TOKEN"}
    return {header: value for header, name in given.items() if (value := os.environ.get(name))}


def _whole_number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise InvalidInputError(f"{name} is a whole number of bytes, got {text!r}")
    return int(text)


def _pem(path: str | Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
