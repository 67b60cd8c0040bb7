"""The exploration bonus as a wrapper of environments for stable-baselines3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from neurips16.training.systems.simhash.counting import Counts, bonus
from neurips16.training.systems.simhash.hashing import SimHash


class CountBonus(VecEnvWrapper):
    """Adds β/√n(φ(s)) to each reward.

    All states of a step are counted before any bonus is read, so that n is at least 1. Rewards and bonuses are summed
    apart: ``info["extrinsic"]`` has the reward of the environment.

    Args:
        venv: the environments.
        code: hashes features.
        counts: kept over episodes and runs.
        beta: of the bonus; 0 adds nothing, and counts all the same.
        features: observations [N, …] to what is hashed [N, D], the paper's g; None takes observations as they are.
    """

    def __init__(
        self,
        venv: VecEnv,
        code: SimHash,
        counts: Counts,
        beta: float,
        features: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        super().__init__(venv)
        self.code, self.counts, self.beta = code, counts, beta
        self.features = features or (lambda observations: observations)
        self.extrinsic = self.intrinsic = 0.0

    def reset(self) -> VecEnvObs:
        """Begin new episodes; their first states are not counted."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """As the environment's, with bonuses in the rewards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        reached = [info.get("terminal_observation", o) for info, o in zip(infos, observations, strict=True)]  # type: ignore[arg-type]
        bits = self.code(self.features(np.stack(reached)))
        self.counts.add(bits)
        added = bonus(self.counts.read(bits), self.beta)
        self.extrinsic += float(rewards.sum())
        self.intrinsic += float(added.sum())
        for info, reward in zip(infos, rewards, strict=True):
            info["extrinsic"] = float(reward)
        return observations, (rewards + added).astype(np.float32), dones, infos

    def state_dict(self) -> dict[str, Any]:
        """What must be kept with a checkpoint of the policy."""
        return {"counts": self.counts.state_dict(), "extrinsic": self.extrinsic, "intrinsic": self.intrinsic}
