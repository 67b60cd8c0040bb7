"""Environments that are installed, and episodes in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.tasks.play.calls import Policy

if TYPE_CHECKING:
    from neurips16.clients.client import Client


@dataclass(frozen=True)
class Episode:
    """What was played.

    Attributes:
        gained: the sum of rewards.
        goals: those chosen, in order.
        frames: uint8 [H, W, 3] before the first step and after each.
    """

    gained: float
    goals: list[int]
    frames: list[np.ndarray]

    @property
    def steps(self) -> int:
        """How many actions it took."""
        return len(self.frames) - 1


def play_episodes(client: Client, policy: Policy, env: Any, count: int, seed: int = 0) -> Iterator[Episode]:
    """So many episodes; the first begins with the seed.

    Raises:
        ClientError: the server does not answer, or not as a policy's models do.
    """
    for number in range(count):
        observation, _ = env.reset(seed=seed if number == 0 else None)
        policy.reset()
        frames, goals, gained, ended = [env.render()], [], 0.0, False
        while not ended:
            before = policy.goal
            action = client.run(policy.act(observation))
            if policy.goal is not None and policy.goal != before:
                goals.append(policy.goal)
            observation, reward, terminated, truncated, _ = env.step(action)
            ended, gained = terminated or truncated, gained + float(reward)
            frames.append(env.render())
        yield Episode(gained, goals, frames)


def make_environment(name: str) -> Any:
    """An environment that draws itself, by Gymnasium's name for it.

    Packages say in the entry-point group ``gymnasium.envs`` which environments they have; Gymnasium 1.0 and later asks
    none of them, so they are asked here.

    Raises:
        InvalidInputError: it cannot be made, or Gymnasium is not installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise InvalidInputError("environments need Gymnasium: pip install gymnasium") from error
    if name not in gymnasium.registry:
        for entry in entry_points(group="gymnasium.envs"):
            entry.load()()
    try:
        return gymnasium.make(name, render_mode="rgb_array")
    except gymnasium.error.Error as error:
        raise InvalidInputError(f"the environment {name} cannot be made: {error}") from error
