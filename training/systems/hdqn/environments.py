"""Makes our environments known to Gymnasium."""

from __future__ import annotations

import gymnasium

CHAIN = "neurips16/Chain-v0"
LONGEST = 1000


def register() -> None:
    """Called through the entry-point group ``neurips16.environments``, and as often as anybody likes."""
    if CHAIN not in gymnasium.registry:
        gymnasium.register(CHAIN, "neurips16.training.systems.hdqn.chain:Chain", max_episode_steps=LONGEST)
