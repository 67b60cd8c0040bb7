"""The page to try the models on: a tab for each task, which asks a server through our client.

It is served by Gradio on this machine, and fetches nothing from anywhere else: no analytics, no tunnel, no fonts, and
what people drop on it is gone when it ends. Who may ask it for what is in `request_guard` and `dropped_files`.
"""

from __future__ import annotations

import contextlib
import html
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurips16.clients.page.dropped_files import FOLDER_VARIABLE, MAX_FILE_BYTES
from neurips16.clients.page.parts import Setup, Tab, refusal
from neurips16.clients.protocol.errors import ClientError, InvalidInputError
from neurips16.clients.tasks.classify_sound import page as page_sounds
from neurips16.clients.tasks.detect import page as page_detection
from neurips16.clients.tasks.generate import page as page_generation
from neurips16.clients.tasks.rank_premises import page as page_premises

if TYPE_CHECKING:
    from neurips16.clients.client import Client

TABS: tuple[Tab, ...] = (
    page_detection.TAB,
    page_sounds.TAB,
    page_premises.TAB,
    page_generation.CODES,
    page_generation.SWAPPED,
    page_generation.CLIMB,
)
FORGOTTEN_S = (600, 3600)  # how often files are looked for that are too old, and the age


def build_page(client: Client, examples: Path | None = None) -> Any:
    """The page as Gradio's Blocks, for the models that the server has loaded now.

    Args:
        client: asks the server, for as long as the page is open.
        examples: a folder with inputs to click on.

    Raises:
        ClientError: the server does not say what it has.
    """
    import gradio as gr

    setup = Setup(client, frozenset(model.name for model in client.models() if model.ready), examples)
    with gr.Blocks(title="neurips16", analytics_enabled=False, delete_cache=FORGOTTEN_S) as page:
        gr.HTML(
            f"<h1>neurips16</h1><p>Models of NIPS 2016, served at {html.escape(client.connection.url)}</p>",
            elem_classes="heading",
        )
        with gr.Tabs():
            for tab in TABS:
                with gr.Tab(tab.title):
                    gr.Markdown(tab.about, elem_classes="about")
                    if missing := tab.missing(setup):
                        gr.HTML(f'<p class="missing">{html.escape(missing)}</p>')
                        continue
                    try:
                        tab.build(setup)
                    except ClientError as error:  # a model of the same name that is not ours: the others can be tried
                        gr.HTML(refusal(str(error)))
    return page


@contextlib.contextmanager
def page_app(
    client: Client, examples: Path | None = None, *, host: str = "127.0.0.1", names: Iterable[str] = ()
) -> Iterator[Any]:
    """The page as an ASGI application, until the context is left; then what was dropped on it is deleted.

    Args:
        client: asks the server.
        examples: a folder with inputs to click on.
        host: the address that it will listen on.
        names: by which browsers reach it besides.

    Raises:
        ClientError: the server does not say what it has.
    """
    with tempfile.TemporaryDirectory(prefix="neurips16-page-") as folder:
        # Gradio has no arguments for these, and its components do not ask their Blocks about analytics.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", FOLDER_VARIABLE: folder}
        import gradio as gr
        from fastapi import FastAPI

        from neurips16.clients.page.request_guard import RequestGuard
        from neurips16.clients.page.style import CSS, theme

        page = build_page(client, examples)
        page.has_launched = True  # `launch` says so, the mount does not; until then Gradio checks no path
        app = gr.mount_gradio_app(
            FastAPI(openapi_url=None),
            page,
            path="/",
            theme=theme(),
            css=CSS,
            footer_links=[],
            run_history=False,
            show_error=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            max_file_size=MAX_FILE_BYTES,
            allowed_paths=[] if examples is None else [str(examples.resolve())],
        )
        yield RequestGuard(app, Path(folder), host=host, names=names)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; any free port for 0.

    Raises:
        InvalidInputError: the address is not one of this machine's, or somebody listens there.
    """
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise InvalidInputError(
            f"port {port} on {host} cannot be had for the page ({error.strerror or error}): end what listens there, or "
            "choose another with --port"
        ) from error
    return listener


def serve(app: Any, listener: socket.socket) -> None:
    """Answer browsers until SIGINT or SIGTERM comes, which is raised again at the end."""
    import uvicorn

    # An open page holds a stream of events, which ends only when the page is closed.
    uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)).run(sockets=[listener])
