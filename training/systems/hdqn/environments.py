"""Makes our environments known to Gymnasium, which loads this while it is itself being loaded."""

from __future__ import annotations

from gymnasium.envs.registration import register as register_environment
from gymnasium.envs.registration import registry

CHAIN = "neurips16/Chain-v0"
LONGEST = 1000


def register() -> None:
    """Called through the entry-point group ``gymnasium.envs``, by whoever needs the environments, however often."""
    if CHAIN not in registry:
        register_environment(CHAIN, "neurips16.training.systems.hdqn.chain:Chain", max_episode_steps=LONGEST)
