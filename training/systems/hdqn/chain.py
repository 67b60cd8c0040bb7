"""The paper's six-state chain, as an environment of Gymnasium and exactly.

States 1 … 6, here 0 … 5; the start is state 2. Left always goes left; right goes right half of the time, else left.
State 1 ends the episode, with a reward of 1 if state 6 was visited and of 0.01 if not. Whether it was is not observed.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

STATES, START, END, FAR = 6, 1, 0, 5
LEFT, RIGHT = 0, 1
FULL, POOR = 1.0, 0.01


class Chain(gymnasium.Env):
    """Observations are the state 0 … 5; what was visited is hidden."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    observation_space = gymnasium.spaces.Discrete(STATES)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.state, self.visited = START, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin in state 2."""
        super().reset(seed=seed)
        self.state, self.visited = START, False
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """One move; at the far end right stays or goes left."""
        right = action == RIGHT and self.np_random.random() < 0.5
        self.state = min(self.state + 1, FAR) if right else self.state - 1
        self.visited |= self.state == FAR
        ended = self.state == END
        return self.state, (FULL if self.visited else POOR) if ended else 0.0, ended, False, {}

    def render(self) -> np.ndarray:
        """The chain as uint8 [1, 6, 3]: the agent white, the far end green or, once visited, blue, the end red."""
        picture = np.full((1, STATES, 3), 40, np.uint8)
        picture[0, END], picture[0, FAR] = (160, 40, 40), (40, 40, 200) if self.visited else (40, 160, 40)
        picture[0, self.state] = 255
        return picture


def reach(right: np.ndarray) -> np.ndarray:
    """The chance to visit state 6 before the end, from each state, float64 [6].

    Args:
        right: with which probability the action is right, float64 [6]; that of the first and the last does not matter.
    """
    inner = np.arange(1, FAR)
    matrix, known = np.eye(STATES), np.zeros(STATES)
    known[FAR] = 1.0
    for state in inner:
        upward = right[state] / 2
        matrix[state, state + 1] -= upward
        matrix[state, state - 1] -= 1 - upward
    return np.linalg.solve(matrix, known)


def expected_return(right: np.ndarray) -> float:
    """Of a policy that goes right with these probabilities until state 6 is visited; what it does then is no matter."""
    chance = float(reach(right)[START])
    return chance * FULL + (1 - chance) * POOR
