"""The tab of novelty: which rows of a table are like few others."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from neurips16.clients.page.parts import Dropped, Setup, Tab, answer_text, answering, content, table
from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.tasks.novelty.calls import MODEL

if TYPE_CHECKING:
    from neurips16.clients.client import Client

SHOWN = 12


def rank(client: Client, dropped: Dropped, bits: float) -> tuple[str, str]:
    """The rows of an .npy file that are the newest.

    Args:
        client: asks the server.
        dropped: the file.
        bits: of the code.

    Returns:
        A table, and what it shows.

    Raises:
        ClientError: the file is no table of numbers, or the server does not answer.
    """
    if dropped is None:
        return "", "Drop an .npy file with a row of numbers for each state."
    try:
        states = np.load(io.BytesIO(content(dropped)), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"the file cannot be read as .npy: {error}") from error
    found = client.novelty(states, bits=int(bits))
    rows = [(str(row), str(found.counts[row]), float(found.scores[row])) for row in found.order[:SHOWN].tolist()]
    said = f"{len(states)} rows have {len(np.unique(found.codes, axis=0))} codes of {int(bits)} bits; the newest first."
    return table(("row", "rows like it", "novelty"), rows), said


def build(setup: Setup) -> None:
    """Put the controls into the page that is open."""
    import gradio as gr

    (example,) = setup.example_files("visits.npy")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            file = gr.File(example, label="Table (.npy)", file_types=[".npy"], elem_id="novelty-file")
            bits = gr.Slider(1, 64, 10, step=1, label="Bits", info="More tell more rows apart", elem_id="novelty-bits")
        with gr.Column(scale=3):
            line = answer_text("novelty-status")
            rows = answer_text("novelty-table")
    answer = answering(partial(rank, setup.client), 1)
    setup.at_once(answer, [file, bits], [rows, line], preprocess=False)
    for control in (file, bits):
        control.change(
            answer,
            [file, bits],
            [rows, line],
            trigger_mode="always_last",
            api_visibility="private",
            preprocess=False,  # the client reads the file, and says what is wrong with it
        )


TAB = Tab(
    title="Novelty",
    about="Rows of numbers are hashed so that similar ones share a code; a row whose code is rare is new. "
    "Reinforcement learning rewards such states, and the same count orders any table of embeddings.",
    models=(MODEL,),
    build=build,
)
