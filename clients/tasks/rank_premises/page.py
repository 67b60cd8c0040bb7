"""The tab of premise ranking: a conjecture and premises go in, the premises come out by how useful they look."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neurips16.clients.page.parts import Setup, Tab, answer_text, answering, table
from neurips16.clients.tasks.rank_premises.premise_models import ENCODER
from neurips16.clients.tasks.rank_premises.statements import Statement, parse_lines

if TYPE_CHECKING:
    from neurips16.clients.client import Client

CONJECTURE_FILE, PREMISES_FILE = "conjecture.p", "premises.p"


def rank(client: Client, conjecture: str, premises: str) -> tuple[str, str]:
    """The premises, the most useful first.

    Args:
        client: asks the server.
        conjecture: one statement.
        premises: one statement a line.

    Returns:
        A table of them, and what was not read to the end.

    Raises:
        ClientError: a statement cannot be used, or the server does not answer.
    """
    goal = Statement.parse(conjecture, where="the conjecture")
    ranking = client.rank_premises(goal, parse_lines(premises.split("\n"), "the list of premises"))
    rows = [(str(one.rank), f"{one.score:.2f}", one.text.strip()) for one in ranking]
    cut = len(ranking.truncated) + ranking.conjecture_truncated
    note = f" {cut} longer than the {ranking.max_length} {ranking.unit} that the model reads: cut off." if cut else ""
    if ranking.unlike_training:
        note += " The model saw nothing like the conjecture: the order goes by shared symbols."
    said = f"{len(rows)} premises, the one that looks most useful first.{note}"
    return table(("rank", "score", "premise"), rows), said


def build(setup: Setup) -> None:
    """Put the controls into the tab that is open."""
    import gradio as gr

    files = [*setup.example_files(CONJECTURE_FILE), *setup.example_files(PREMISES_FILE)]
    example = [Path(file).read_text(encoding="utf-8").strip() for file in files]
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            conjecture = gr.Textbox(
                example[0],
                lines=3,
                label="Conjecture",
                info="fof(name, role, formula). or a formula",
                elem_id="premises-conjecture",
            )
            premises = gr.Textbox(
                example[1], lines=8, max_lines=16, label="Premises", info="One a line", elem_id="premises-premises"
            )
            ask = gr.Button("Rank", variant="primary", elem_id="premises-rank")
            gr.Examples([example], [conjecture, premises], label="An example to click on", example_labels=["Sets"])
        with gr.Column(scale=3):
            line = answer_text("premises-status")
            ranked = answer_text("premises-table")
    answer = answering(partial(rank, setup.client), 1)
    setup.at_once(answer, [conjecture, premises], [ranked, line])
    gr.on(
        [ask.click, conjecture.submit],
        answer,
        [conjecture, premises],
        [ranked, line],
        trigger_mode="always_last",
        api_visibility="private",
    )


TAB = Tab(
    title="Premises",
    about=(
        "Give a conjecture and some premises, in the TPTP language of first-order logic: the models rank the premises "
        "by how much they help to prove it."
    ),
    models=(ENCODER,),
    build=build,
)
