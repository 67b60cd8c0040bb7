"""The sub-command `demo`: a page to try the models on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from neurips16.clients.models_command import UrlOption

EXAMPLES = Path(__file__).parents[2] / "deploy/demo"  # in a checkout; an installed package has none


def demo(
    host: Annotated[str, typer.Option(help="The address that the page listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes any free one.")] = 7860,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Show the page in the browser.")] = True,
    examples: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Inputs to click on, laid out like deploy/demo of the checkout."),
    ] = None,
    insecure_plaintext: Annotated[
        bool,
        typer.Option(
            "--insecure-plaintext",
            help="Let others open the page: they use the server with your credentials, and all can be read on the way.",
        ),
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="A host name by which browsers reach the page; may be repeated."),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Open a page to try the models on: drop pictures and sounds, move the codes of generators, rank premises."""
    from neurips16.clients.client import Client
    from neurips16.clients.protocol.connection import Address
    from neurips16.clients.protocol.errors import InvalidInputError

    if not Address(host).is_loopback and not insecure_plaintext:
        raise InvalidInputError(
            f"others reach {host}, and the page asks nobody for a password: leave --host out, or say "
            "--insecure-plaintext where everybody who reaches it may use the server with your credentials"
        )
    if examples is not None and not examples.is_dir():
        raise InvalidInputError(f"--examples is a folder, got {examples}")
    if examples is None and EXAMPLES.is_dir():
        examples = EXAMPLES
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise InvalidInputError(f"`neurips16 demo` needs {error.name!r}: pip install 'neurips16[page]'") from error
    from neurips16.clients.page.app import listen, page_app, serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what was dropped on the page is deleted
    with (
        listen(host, port) as listener,
        Client(url) as client,
        page_app(client, examples, host=host, names=name or ()) as app,
    ):
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        typer.echo(f"the page is at {address}, the models are at {client.connection.url}; Ctrl-C ends it")
        if browser:
            import webbrowser

            webbrowser.open(address)
        serve(app, listener)
