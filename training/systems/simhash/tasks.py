"""Two sparse tasks of the paper, as environments of Gymnasium whose observations lie in about [-1, 1].

MountainCar pays 1 for reaching the goal. CartPoleSwingup starts with the pole down and pays 1 for each step in which
the pole is nearly up, after VIME: cos θ > 0.8. Neither pays anything else.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

LONGEST = 500
CAR_CENTRE, CAR_SCALE = np.array([-0.3, 0.0]), np.array([0.9, 0.07])  # of position and speed
GRAVITY, CART, POLE, HALF_LENGTH, STEP_S, FORCE_N, EDGE_M, UP = 9.8, 1.0, 0.1, 0.5, 0.02, 10.0, 3.0, 0.8


class SparseMountainCar(gymnasium.Wrapper):
    """Gymnasium's MountainCarContinuous with a reward of 1 at the goal and none elsewhere."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("MountainCarContinuous-v0", max_episode_steps=LONGEST))
        self.observation_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin in the valley."""
        observation, info = self.env.reset(seed=seed, options=options)
        return _scaled(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One step; the environment's own reward is left out."""
        observation, _, terminated, truncated, info = self.env.step(action)
        return _scaled(observation), float(terminated), terminated, truncated, info


class SparseSwingup(gymnasium.Env):
    """A pole that hangs from a cart and is to be swung up; leaving the track ends the episode.

    Observations float32 [5]: place, speed, sine and cosine of the pole's angle, its speed; the action is the force.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin in the middle with the pole down, both a little off."""
        super().reset(seed=seed)
        self._place, self._speed, off, self._spin = self.np_random.uniform(-0.05, 0.05, 4).tolist()
        self._angle, self._steps = math.pi + off, 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One step of 20 ms by Euler's method, with the equations of Gymnasium's CartPole."""
        force = FORCE_N * min(max(float(np.asarray(action).reshape(-1)[0]), -1.0), 1.0)
        sine, cosine = math.sin(self._angle), math.cos(self._angle)
        pushed = (force + POLE * HALF_LENGTH * self._spin**2 * sine) / (CART + POLE)
        turning = (GRAVITY * sine - cosine * pushed) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / (CART + POLE)))
        moving = pushed - POLE * HALF_LENGTH * turning * cosine / (CART + POLE)
        self._place, self._speed = self._place + STEP_S * self._speed, self._speed + STEP_S * moving
        self._angle, self._spin = self._angle + STEP_S * self._spin, self._spin + STEP_S * turning
        self._steps += 1
        left = abs(self._place) > EDGE_M
        reward = 0.0 if left else float(math.cos(self._angle) > UP)
        return self._observation(), reward, left, self._steps >= LONGEST, {}

    def _observation(self) -> np.ndarray:
        pole = math.sin(self._angle), math.cos(self._angle), self._spin / 8
        return np.array([self._place / EDGE_M, self._speed / 4, *pole], np.float32)


TASKS: dict[str, type[gymnasium.Env]] = {"mountain-car": SparseMountainCar, "swing-up": SparseSwingup}  # type: ignore[type-arg]


def _scaled(observation: np.ndarray) -> np.ndarray:
    return ((observation - CAR_CENTRE) / CAR_SCALE).astype(np.float32)
