"""The sub-command `play`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from neurips16.clients.protocol.command_options import Server, asks_server

PIXELS = 24  # of a cell of the picture


@asks_server
def play(
    server: Server,
    environment: Annotated[str, typer.Argument(metavar="ENV", help="As Gymnasium names it: neurips16/Chain-v0.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes to play.")] = 10,
    gif: Annotated[
        Path | None, typer.Option(metavar="FILE.gif", help="Write the first episode as an animation.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the environment.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, one for each episode.")
    ] = False,
) -> None:
    """Play an environment through a server: one model picks goals, the other acts towards them."""
    from neurips16.clients.media.picture_grid import write_animation
    from neurips16.clients.protocol.errors import InvalidInputError
    from neurips16.clients.tables import print_table
    from neurips16.clients.tasks.play.episodes import make_environment, play_episodes

    with server.client() as client:
        policy = client.policy()
        if environment != policy.environment:
            raise InvalidInputError(f"the server's models play {policy.environment}, not {environment}")
        played: list[dict[str, Any]] = []
        for number, episode in enumerate(play_episodes(client, policy, make_environment(environment), episodes, seed)):
            played.append({"episode": number, "return": episode.gained, "steps": episode.steps, "goals": episode.goals})
            if number == 0 and gif is not None:
                write_animation(gif, episode.frames, scale=PIXELS)
    if as_json:
        for one in played:
            typer.echo(json.dumps(one))
        return
    rows = (
        (str(one["episode"]), f"{one['return']:.2f}", str(one["steps"]), " ".join(map(str, one["goals"])))
        for one in played
    )
    print_table({"episode": "right", "return": "right", "steps": "right", "goals": "left"}, rows)
    typer.echo(f"mean return {sum(one['return'] for one in played) / len(played):.3f}")
    if gif is not None:
        typer.echo(f"wrote {gif}")
