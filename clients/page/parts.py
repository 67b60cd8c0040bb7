"""What the tabs of the page share: what they are made from, and how answers, tables and refusals are shown.

The functions that answer know nothing of Gradio: they take what a control holds and give what the outputs show. What
comes from users and servers (labels, statements, the text of an error) is escaped before it becomes HTML.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurips16.clients.page.dropped_files import read_dropped
from neurips16.clients.protocol.errors import ClientError

if TYPE_CHECKING:
    from neurips16.clients.client import Client

Dropped = Mapping[str, Any] | None  # a file as Gradio hands it over unread: its place under "path"


@dataclass(frozen=True)
class Setup:
    """What a tab is built from."""

    client: Client
    loaded: frozenset[str]  # models that the server has loaded
    examples: Path  # the task's folder of inputs to try it with
    page: Any  # Gradio's Blocks

    def example_files(self, pattern: str) -> list[str]:
        """The example inputs that match, in order."""
        return sorted(map(str, self.examples.glob(pattern)))

    def at_once(
        self, function: Callable[..., tuple], inputs: Sequence[Any], outputs: Sequence[Any], **more: Any
    ) -> None:
        """Answer what the controls hold when the page is opened, so that nobody sees an empty page."""
        self.page.load(function, list(inputs), list(outputs), api_visibility="private", show_progress="hidden", **more)


@dataclass(frozen=True)
class Tab:
    """One page: a task, or a part of it."""

    title: str
    about: str  # one or two sentences for people who see it first
    models: tuple[str, ...]  # without these there is nothing to try
    build: Callable[[Setup], None]  # puts the controls into the page that is open

    def missing(self, setup: Setup) -> str:
        """What the server lacks for this task, as a sentence; empty where it lacks nothing."""
        names = [name for name in self.models if name not in setup.loaded]
        if not names:
            return ""
        return (
            f"The server at {setup.client.connection.url} has not loaded {' and '.join(names)}, which this needs: "
            f"serve a repository that holds {'it' if len(names) == 1 else 'them'}, then start `neurips16 demo` again."
        )


def answering(function: Callable[..., tuple], outputs: int) -> Callable[..., tuple]:
    """``function`` for a control: its answers with a line about them, or nothing and the reason in one line.

    Args:
        function: gives ``outputs`` values, and a text.
        outputs: how many components show the values; a status line shows the text.
    """

    def answer(*inputs: Any) -> tuple:
        try:
            *values, text = function(*inputs)
        except ClientError as error:
            return (*[None] * outputs, refusal(str(error)))
        return (*values, status(text))

    return answer


def status(text: str) -> str:
    """A line about an answer."""
    return f'<p class="status">{html.escape(text)}</p>' if text else ""


def refusal(text: str) -> str:
    """A line that says why there is no answer."""
    return f'<p class="status refused" role="alert">{html.escape(" ".join(text.split()))}</p>'


def content(dropped: Mapping[str, Any]) -> bytes:
    """The bytes of a file that was dropped, recorded or clicked on."""
    return read_dropped(dropped["path"])


def table(headings: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """Rows under headings; a floating-point number is a share of 1, and gets a bar."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<table class="answer"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f"<td>{html.escape(value)}</td>"
    width = 100 * min(1.0, max(0.0, value))
    return f'<td class="share"><span>{value:.1%}</span><b><i style="width: {width:.1f}%"></i></b></td>'


def answer_text(name: str) -> Any:
    """A place for a line or a table that answers, by its id in the page."""
    import gradio as gr

    return gr.HTML(elem_id=name, elem_classes="answers")


def shown_picture(about: str, *, buttons: Sequence[Any] = ("download",), **options: Any) -> Any:
    """A picture that answers; by default nothing lies over it but what saves it.

    Left to itself, Gradio would add a button that sends the picture away.
    """
    import gradio as gr

    return gr.Image(
        label=about,
        alt_text=about,
        show_label=False,
        format="png",
        interactive=False,
        buttons=list(buttons),
        **options,
    )


def animation(data: bytes, about: str) -> str:
    """A GIF within the page itself, which no other page can ask for."""
    source = f"data:image/gif;base64,{base64.b64encode(data).decode()}"
    return f'<img class="pixels" alt="{html.escape(about)}" src="{source}">'
