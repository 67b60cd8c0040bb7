"""Options that commands share: which server to ask, and how, and what becomes of files that cannot be used."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from neurips16.clients.client import Client
    from neurips16.clients.protocol.connection import Connection
    from neurips16.clients.protocol.errors import ClientError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in place of text.")]
MaxImageOption = Annotated[
    int | None,
    typer.Option(
        "--max-image-bytes",
        metavar="BYTES",
        help="Refuse an image that takes more memory to decode.",
        show_default="NEURIPS16_MAX_IMAGE_BYTES, else 536870912",
    ),
]

_PANEL = "The server"
_OPTIONS: dict[str, Any] = {
    "url": Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="HOST:PORT",
            help="Its gRPC port; grpcs://HOST:PORT for TLS.",
            show_default="NEURIPS16_URL, else localhost:8001",
            rich_help_panel=_PANEL,
        ),
    ],
    "tls_ca": Annotated[
        str | None,
        typer.Option(
            "--tls-ca",
            metavar="PEM",
            envvar="NEURIPS16_TLS_CA",
            help="The authorities that may have signed its certificate.",
            show_default="this system's authorities",
            rich_help_panel=_PANEL,
        ),
    ],
    "tls_cert": Annotated[
        str | None,
        typer.Option(
            "--tls-cert",
            metavar="PEM",
            envvar="NEURIPS16_TLS_CERTIFICATE",
            help="Your certificate, where the server asks for one.",
            rich_help_panel=_PANEL,
        ),
    ],
    "tls_key": Annotated[
        str | None,
        typer.Option(
            "--tls-key",
            metavar="PEM",
            envvar="NEURIPS16_TLS_KEY",
            help="The key of your certificate.",
            rich_help_panel=_PANEL,
        ),
    ],
}


@dataclass(frozen=True)
class Server:
    """The server that a command asks."""

    url: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def connection(self, **more: Any) -> Connection:
        """How to reach it; ``more`` goes to `Connection.of`.

        Raises:
            InvalidInputError: the options contradict one another, or a file cannot be read.
        """
        from neurips16.clients.protocol.connection import TLS, Connection

        given = self.tls_ca or self.tls_cert or self.tls_key
        tls = TLS(self.tls_ca, self.tls_cert, self.tls_key) if given else None
        return Connection.of(self.url, tls=tls, **more)

    def client(self) -> Client:
        """A client of it."""
        from neurips16.clients.client import Client

        return Client(self.url, tls=self.connection().tls)


def asks_server(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter ``server``, a `Server`, is filled from options that all such commands share."""

    @functools.wraps(function)
    def command(**given: Any) -> None:
        server = Server(**{name: given.pop(name) for name in _OPTIONS})
        function(server=server, **given)

    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "server"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in _OPTIONS.items()]
    parameters = [parameter.replace(kind=keyword) for parameter in own] + shared
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del command.__wrapped__  # type: ignore[attr-defined]  # typer would look at its parameters
    return command


class Failures:
    """Inputs that could not be used: each is named at once, and at the end the command's status is 1."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, name: str, error: ClientError) -> None:
        """Name an input and why it has no answer; what is not the input's fault is raised."""
        from neurips16.clients.protocol.errors import InvalidInputError, InvalidRequestError

        if not isinstance(error, (InvalidInputError, InvalidRequestError)):
            raise error
        self.count += 1
        text = str(error)
        typer.echo(f"error: {text if name in text else f'{name}: {text}'}", err=True)

    def finish(self) -> None:
        """End the command with status 1 where there were any."""
        if self.count:
            raise typer.Exit(1)
