"""The page to try the models on: an address for each tab of each task, which asks a server through our client.

It is served by Gradio on this machine, and fetches nothing from anywhere else: no analytics, no tunnel, no fonts, and
what people drop on it is gone when it ends. Who may ask it for what is in `request_guard` and `dropped_files`.
"""

from __future__ import annotations

import contextlib
import html
import itertools
import os
import socket
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurips16.clients.page.dropped_files import FOLDER_VARIABLE, MAX_FILE_BYTES
from neurips16.clients.page.parts import Setup, Tab, refusal
from neurips16.clients.protocol.errors import ClientError, InvalidInputError
from neurips16.clients.tasks import Task, found_tasks

if TYPE_CHECKING:
    from neurips16.clients.client import Client

FORGOTTEN_S = (600, 3600)  # how often files are looked for that are too old, and the age


@dataclass(frozen=True)
class Place:
    """A tab and its address."""

    task: Task
    address: str
    tab: Tab


def places() -> list[Place]:
    """The tabs of all tasks, group by group."""
    found = [Place(task, address, task.load(tab)) for task in found_tasks() for address, tab in task.tab.items()]
    return sorted(found, key=lambda place: place.task.group)


def build_page(client: Client) -> Any:
    """The page as Gradio's Blocks, with an address for each tab, for the models that the server has loaded now.

    Args:
        client: asks the server, for as long as the page is open.

    Raises:
        ClientError: the server does not say what it has.
    """
    import gradio as gr

    loaded = frozenset(model.name for model in client.models() if model.ready)
    shown = places()
    heading = f"Models of NIPS 2016, served at {html.escape(client.connection.url)}"
    with gr.Blocks(title="neurips16", analytics_enabled=False, delete_cache=FORGOTTEN_S) as page:
        gr.HTML(f"<h1>neurips16</h1><p>{heading}</p>", elem_classes="heading")
        gr.HTML(_overview(shown, loaded), elem_classes="overview")
    for place in shown:
        with page.route(place.tab.title, place.address, show_in_navbar=False):
            setup = Setup(client, loaded, place.task.folder, page)
            gr.HTML(_navigation(shown, place), elem_classes="navigation")
            gr.HTML(
                f"<h1>{html.escape(place.tab.title)}</h1><p>{html.escape(place.tab.about)}</p>", elem_classes="heading"
            )
            if missing := place.tab.missing(setup):
                gr.HTML(f'<p class="missing">{html.escape(missing)}</p>')
                continue
            try:
                place.tab.build(setup)
            except ClientError as error:  # a model of the same name that is not ours: the others can be tried
                gr.HTML(refusal(str(error)))
    return page


def _navigation(shown: Sequence[Place], here: Place) -> str:
    """Links to all tabs, group by group; addresses are relative, so that a proxy may serve the page below a path."""
    groups = []
    for group, members in itertools.groupby(shown, lambda place: place.task.group):
        links = "".join(
            f'<a href="{html.escape(place.address)}"{" aria-current=page" if place is here else ""}>'
            f"{html.escape(place.tab.title)}</a>"
            for place in members
        )
        groups.append(f"<section><h2>{html.escape(group)}</h2>{links}</section>")
    return f'<nav aria-label="Tasks"><section><a class="home" href="./">neurips16</a></section>{"".join(groups)}</nav>'


def _overview(shown: Sequence[Place], loaded: frozenset[str]) -> str:
    """All tabs with what they are about, group by group."""
    groups = []
    for group, members in itertools.groupby(shown, lambda place: place.task.group):
        entries = []
        for place in members:
            there = loaded.issuperset(place.tab.models)
            note = "" if there else f" <em>{html.escape(' and '.join(place.tab.models))} not loaded</em>"
            entries.append(
                f'<a href="{html.escape(place.address)}"><b>{html.escape(place.tab.title)}</b>'
                f"<span>{html.escape(place.tab.about)}{note}</span></a>"
            )
        groups.append(f"<section><h2>{html.escape(group)}</h2>{''.join(entries)}</section>")
    return "".join(groups)


@contextlib.contextmanager
def page_app(client: Client, *, host: str = "127.0.0.1", names: Iterable[str] = ()) -> Iterator[Any]:
    """The page as an ASGI application, until the context is left; then what was dropped on it is deleted.

    Args:
        client: asks the server.
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

        from neurips16.clients.page.dropped_files import refuse_downloads
        from neurips16.clients.page.request_guard import RequestGuard
        from neurips16.clients.page.style import CSS, theme

        refuse_downloads()
        warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)  # nor asked for
        page = build_page(client)
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
            allowed_paths=sorted({str(task.folder.resolve()) for task in found_tasks()}),
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
