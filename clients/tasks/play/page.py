"""The tab of play: one episode of a hierarchy, as a film."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neurips16.clients.media.picture_grid import write_animation
from neurips16.clients.page.parts import Setup, Tab, animation, answer_text, answering
from neurips16.clients.tasks.play.calls import CONTROLLER, META
from neurips16.clients.tasks.play.episodes import make_environment, play_episodes

if TYPE_CHECKING:
    from neurips16.clients.client import Client

PIXELS = 48  # of a cell


def show(client: Client, seed: float) -> tuple[str, str]:
    """One episode.

    Args:
        client: asks the server.
        seed: of the environment.

    Returns:
        A film within HTML, and what it shows.

    Raises:
        ClientError: the environment is not installed, or the server does not answer.
    """
    policy = client.policy()
    (one,) = play_episodes(client, policy, make_environment(policy.environment), 1, int(seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "episode.gif")
        write_animation(path, one.frames, scale=PIXELS)
        film = animation(path.read_bytes(), f"An episode of {policy.environment}")
    goals = ", ".join(map(str, one.goals))
    return film, f"{policy.environment}: return {one.gained:.2f} after {one.steps} steps; goals {goals}."


def build(setup: Setup) -> None:
    """Put the controls into the page that is open."""
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            seed = gr.Slider(0, 99, 4, step=1, label="Seed", info="Of the environment's chance", elem_id="play-seed")
        with gr.Column(scale=3):
            film = answer_text("play-film")
            line = answer_text("play-status")
    answer = answering(partial(show, setup.client), 1)
    setup.at_once(answer, [seed], [film, line])
    seed.change(answer, [seed], [film, line], trigger_mode="always_last", api_visibility="private")


TAB = Tab(
    title="Play",
    about="One network picks goals, another acts towards them. The agent (white) is paid in full at the red end only "
    "if it was at the far end (green) before, and its steps to the right fail half of the time.",
    models=(META, CONTROLLER),
    build=build,
)
