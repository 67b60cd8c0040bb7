"""The tab of image classification: by any loaded model that does it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from neurips16.clients.page.parts import Dropped, Setup, Tab, answer_text, answering, content, table
from neurips16.clients.protocol.errors import ModelNotFoundError, UnexpectedReplyError
from neurips16.clients.tasks.classify_image.calls import image_labels

if TYPE_CHECKING:
    from neurips16.clients.client import Client


def classify(client: Client, picture: Dropped, model: str) -> tuple[str, str]:
    """What a picture shows.

    Args:
        client: asks the server.
        picture: the file that was dropped, None where there is none now.
        model: the classifier.

    Returns:
        A table of the classes, the likeliest first, and a line.

    Raises:
        ClientError: the picture cannot be read, or the server does not answer.
    """
    if picture is None:
        return "", "Drop a picture to see its classes."
    classes = client.classify_image(content(picture), model=model)
    rows = [(one.label, one.probability) for one in classes]
    return table(("class", "probability"), rows), f"Most likely {classes[0].label}."


def classifiers(setup: Setup) -> list[str]:
    """The loaded models that classify images."""
    found = []
    for name in sorted(setup.loaded):
        try:
            image_labels(setup.client.model_config(name))
        except (UnexpectedReplyError, ModelNotFoundError):  # unloaded since it was listed
            continue
        found.append(name)
    return found


def build(setup: Setup) -> None:
    """Put the controls into the page that is open."""
    import gradio as gr

    names = classifiers(setup)
    if not names:
        gr.HTML(
            '<p class="missing">None of the models that the server has loaded classifies images: it would take an '
            "image and give class_probabilities, with labels.</p>"
        )
        return
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            picture = gr.Image(
                type="filepath", sources=["upload", "clipboard"], buttons=[], label="Picture", height=320
            )
            model = gr.Dropdown(names, value=names[0], label="Model")
        with gr.Column(scale=3):
            line = answer_text("classify-image-status")
            found = answer_text("classify-image-table")
    answer = answering(partial(classify, setup.client), 1)
    setup.at_once(answer, [picture, model], [found, line], preprocess=False)
    gr.on(
        [picture.change, model.input],
        answer,
        [picture, model],
        [found, line],
        preprocess=False,  # the client reads the file, and says what is wrong with it
        trigger_mode="always_last",
        api_visibility="private",
    )


TAB = Tab(
    title="Image classes",
    about="Drop a picture: a classifier names what it shows as a whole.",
    models=(),
    build=build,
)
