"""The tab of object detection: a picture goes in, its boxes and a table come out."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from neurips16.clients.page.parts import Dropped, Setup, Tab, answer_text, answering, content, shown_picture, table
from neurips16.clients.tasks.detect import MIN_SCORE
from neurips16.clients.tasks.detect.calls import DETECTOR, detection_labels

if TYPE_CHECKING:
    from PIL.Image import Image

    from neurips16.clients.client import Client


def find(client: Client, picture: Dropped, min_score: float) -> tuple[Image | None, str, str]:
    """The objects on a picture.

    Args:
        client: asks the server.
        picture: the file that was dropped, None where there is none now.
        min_score: the threshold of the scores.

    Returns:
        The picture with the boxes drawn on it, a table of them, and how many there are of each kind.

    Raises:
        ClientError: the picture cannot be read, or the server does not answer.
    """
    from neurips16.clients.media.box_drawing import draw_detections
    from neurips16.clients.media.image_reading import read_image

    if picture is None:
        return None, "", ""
    image = read_image(content(picture))
    found = client.detect(image, min_score=min_score)
    drawn = draw_detections(image, found, client.run(detection_labels()))
    counts = Counter(detection.label for detection in found)
    if not found:
        return drawn, "", f"Nothing with a score of at least {min_score:.0%}."
    said = ", ".join(f"{count} {label}" for label, count in counts.most_common())
    rows = [(d.label, d.score, ", ".join(f"{edge:.0f}" for edge in d.box)) for d in found]
    return drawn, table(("object", "score", "box: x0, y0, x1, y1 in pixels"), rows), f"{len(found)} found: {said}."


def build(setup: Setup) -> None:
    """Put the controls into the tab that is open."""
    import gradio as gr

    files = setup.example_files("*.jpg")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            picture = gr.Image(
                files[0] if files else None,
                type="filepath",
                sources=["upload", "clipboard"],
                buttons=[],
                label="Picture",
                height=320,
                elem_id="detect-picture",
            )
            threshold = gr.Slider(0, 1, MIN_SCORE, step=0.05, label="Threshold of the scores")
            if files:
                gr.Examples([[file] for file in files], [picture], label="An example to click on")
        with gr.Column(scale=3):
            line = answer_text("detect-status")
            drawn = shown_picture("What was found", elem_id="detect-drawn")
            found = answer_text("detect-table")
    answer = answering(partial(find, setup.client), 2)
    inputs, outputs = [picture, threshold], [drawn, found, line]
    setup.at_once(answer, inputs, outputs, preprocess=False)
    gr.on(
        [picture.change, threshold.release],
        answer,
        inputs,
        outputs,
        preprocess=False,  # the client reads the file, and says what is wrong with it
        trigger_mode="always_last",
        api_visibility="private",
    )


TAB = Tab(
    title="Objects",
    about="Drop a picture: the detector finds what it was trained on. The one that ships knows blood cells.",
    models=(DETECTOR,),
    build=build,
)
