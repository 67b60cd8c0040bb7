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
    from neurips16.clients.tasks.play.calls import META, Policy
    from neurips16.clients.tasks.play.episodes import make_environment

    with server.client() as client:
        learnt = client.model_config(META).parameters.get("environment")
        if environment != learnt:
            raise InvalidInputError(f"the server's models play {learnt}, not {environment}")
        env = make_environment(environment)
        policy = Policy(client)
        played: list[dict[str, Any]] = []
        for episode in range(episodes):
            observation, _ = env.reset(seed=seed if episode == 0 else None)
            policy.reset()
            frames, goals, gained, steps, ended = [env.render()], [], 0.0, 0, False
            while not ended:
                before = policy.goal
                action = policy.act(int(observation))
                if policy.goal != before:
                    goals.append(policy.goal)
                observation, reward, terminated, truncated, _ = env.step(action)
                ended, gained, steps = terminated or truncated, gained + float(reward), steps + 1
                frames.append(env.render())
            played.append({"episode": episode, "return": gained, "steps": steps, "goals": goals})
            if episode == 0 and gif is not None:
                write_animation(gif, frames, scale=PIXELS)
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
