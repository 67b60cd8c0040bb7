"""The tab of the page."""

from functools import partial

from neurips16.clients import Client
from neurips16.clients.page.parts import Dropped, Setup, Tab, answer_text, answering, content


def name(client: Client, picture: Dropped) -> tuple[str]:
    """A line about a picture."""
    return (client.name_stripes(content(picture)) if picture else "Drop a picture of stripes.",)


def build(setup: Setup) -> None:
    """Put the controls into the page that is open."""
    import gradio as gr

    picture = gr.Image(type="filepath", sources=["upload"], label="Picture", height=240)
    line = answer_text("name-stripes-status")
    answer = answering(partial(name, setup.client), 0)
    setup.at_once(answer, [picture], [line], preprocess=False)
    picture.change(answer, [picture], [line], preprocess=False)


TAB = Tab(title="Stripes", about="Which way do they run?", models=("stripes",), build=build)
