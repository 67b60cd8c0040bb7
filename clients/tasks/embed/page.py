"""The tab of embeddings: which statements are alike."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurips16.clients.page.parts import Setup, Tab, answer_text, answering, table
from neurips16.clients.tasks.rank_premises.premise_models import ENCODER
from neurips16.clients.tasks.rank_premises.statements import parse_lines

if TYPE_CHECKING:
    from neurips16.clients.client import Client


def compare(client: Client, text: str) -> tuple[str, str]:
    """Each statement beside the one whose vector is nearest.

    Args:
        client: asks the server.
        text: one statement a line.

    Returns:
        A table, and what it shows.

    Raises:
        ClientError: a statement cannot be used, or the server does not answer.
    """
    statements = parse_lines(text.split("\n"), "the list of statements")
    vectors = client.embed(statements)
    if len(statements) < 2:
        return "", f"One vector of {vectors.shape[1]} numbers; give two statements to compare them."
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    nearest = alike.argmax(1)
    rows = [
        (one.name or one.text.strip(), statements[other].name or statements[other].text.strip(), float(alike[i, other]))
        for i, (one, other) in enumerate(zip(statements, nearest.tolist(), strict=True))
    ]
    said = f"{len(statements)} vectors of {vectors.shape[1]} numbers; beside each statement the one most like it."
    return table(("statement", "nearest", "cosine"), rows), said


def build(setup: Setup) -> None:
    """Put the controls into the page that is open."""
    import gradio as gr

    example = Path(setup.example_files("*.p")[0]).read_text(encoding="utf-8").strip()
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            statements = gr.Textbox(
                example, lines=8, max_lines=16, label="Statements", info="One a line", elem_id="embed-statements"
            )
            ask = gr.Button("Compare", variant="primary", elem_id="embed-ask")
        with gr.Column(scale=3):
            line = answer_text("embed-status")
            nearest = answer_text("embed-table")
    answer = answering(partial(compare, setup.client), 1)
    setup.at_once(answer, [statements], [nearest, line])
    ask.click(answer, [statements], [nearest, line], trigger_mode="always_last", api_visibility="private")


TAB = Tab(
    title="Statement vectors",
    about="Statements of first-order logic become vectors; those that a prover uses alike lie near one another.",
    models=(ENCODER,),
    build=build,
)
