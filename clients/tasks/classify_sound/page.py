"""The tab of sounds: one is dropped or recorded, and what is heard in it is shown, as a whole and over time."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neurips16.clients.page.parts import Dropped, Setup, Tab, answer_text, answering, content, shown_picture, table
from neurips16.clients.tasks.classify_sound.calls import MODEL

if TYPE_CHECKING:
    from PIL.Image import Image

    from neurips16.clients.client import Client


def listen(client: Client, sound: Dropped) -> tuple[str, Image | None, str]:
    """What can be heard.

    Args:
        client: asks the server.
        sound: the file that was dropped or recorded, None where there is none now.

    Returns:
        A table of the classes, the likeliest first, a picture of what is heard when, and the likeliest class.

    Raises:
        ClientError: the sound cannot be read, or the server does not answer.
    """
    from PIL import Image

    from neurips16.clients.tasks.classify_sound.command import draw_timeline

    if sound is None:
        return "", None, ""
    answer = client.classify_sound(content(sound), steps=True)
    drawn = io.BytesIO()
    if answer.timeline is not None:
        draw_timeline(answer.timeline, answer.duration_s, drawn, title="")
    rows = [(one.label, one.probability) for one in answer]
    likeliest = f"Most likely {answer[0].label}, in {answer.duration_s:.1f} s of sound."
    return table(("sound", "probability"), rows), Image.open(drawn), likeliest


def build(setup: Setup) -> None:
    """Put the controls into the tab that is open."""
    import gradio as gr

    files = setup.example_files("*.ogg")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            sound = gr.Audio(
                files[-1] if files else None,
                type="filepath",
                sources=["upload", "microphone"],
                buttons=[],
                label="Sound",
                elem_id="sound-input",
            )
            if files:
                names = [Path(file).stem.replace("_", " ") for file in files]
                gr.Examples([[file] for file in files], [sound], label="Examples to click on", example_labels=names)
        with gr.Column(scale=3):
            line = answer_text("sound-status")
            classes = answer_text("sound-table")
            timeline = shown_picture("What is heard when", buttons=[], elem_id="sound-timeline")
    answer = answering(partial(listen, setup.client), 2)
    setup.at_once(answer, [sound], [classes, timeline, line], preprocess=False)
    sound.change(
        answer,
        [sound],
        [classes, timeline, line],
        preprocess=False,  # the client reads the file, and says what is wrong with it
        trigger_mode="always_last",
        api_visibility="private",
    )


TAB = Tab(
    title="Sounds",
    about="Drop a sound or record one: the classifier names what it hears, and when.",
    models=(MODEL,),
    build=build,
)
