"""The sub-command `demo`: a page to try the models on."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from neurips16.clients.protocol.command_options import Server, asks_server


@asks_server
def demo(
    server: Server,
    host: Annotated[str, typer.Option(help="The address that the page listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of the page; 0 takes a free one.")] = 7860,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Show the page in the browser.")] = True,
    insecure_plaintext: Annotated[
        bool,
        typer.Option(
            "--insecure-plaintext",
            help="Let others open the page: they use the server with your credentials, and traffic is not encrypted.",
        ),
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="A host name by which browsers reach the page; may be repeated."),
    ] = None,
) -> None:
    """Open a page to try the models on: drop pictures and sounds, move the codes of generators, rank premises."""
    from neurips16.clients.protocol.connection import Address
    from neurips16.clients.protocol.errors import InvalidInputError

    if not Address(host).is_loopback and not insecure_plaintext:
        raise InvalidInputError(
            f"others reach {host}, and the page asks nobody for a password: leave --host out, or say "
            "--insecure-plaintext where everybody who reaches it may use the server with your credentials"
        )
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise InvalidInputError(f"`neurips16 demo` needs {error.name!r}: pip install 'neurips16[page]'") from error
    from neurips16.clients.page.app import listen, page_app, serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what was dropped on the page is deleted
    with (
        listen(host, port) as listener,
        server.client() as client,
        page_app(client, host=host, names=name or ()) as app,
    ):
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        typer.echo(f"the page is at {address}, the models are at {client.connection.url}; Ctrl-C ends it")
        if browser:
            import webbrowser

            webbrowser.open(address)
        serve(app, listener)
