"""Does counting states help where rewards are sparse? TRPO on MountainCar with and without the bonus of SimHash.

    python deploy/bench/exploration.py --steps 60000 --seeds 5 --bits 32 --beta 0,0.05 --output exploration.json

The task is rllab's: MountainCarContinuous whose only reward is 1 at the goal. One line for each run goes to the file
as soon as the run is done; runs that it has already are not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import gymnasium
import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from neurips16.training.systems.simhash.bonus import CountBonus
from neurips16.training.systems.simhash.counting import ExactCounts
from neurips16.training.systems.simhash.hashing import SimHash

BATCH, ENVIRONMENTS, LONGEST = 5000, 4, 500
CENTRE, SCALE = np.array([-0.3, 0.0]), np.array([0.9, 0.07])  # of position and speed


class Sparse(gymnasium.Wrapper):
    """Rewards reaching the goal with 1, and nothing else."""

    def step(self, action):
        """One step; the environment's own reward is left out."""
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float(terminated), terminated, truncated, info


class Solved(BaseCallback):
    """The share of episodes, batch by batch, that reached the goal."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[float] = []
        self._ended: list[float] = []

    def _on_step(self) -> bool:
        for done, info in zip(self.locals["dones"], self.locals["infos"], strict=True):
            if done:
                self._ended.append(info["extrinsic"])
        return True

    def _on_rollout_end(self) -> None:
        self.shares.append(float(np.mean(self._ended)) if self._ended else 0.0)
        self._ended = []


def lifted(observations: np.ndarray) -> np.ndarray:
    """Position and speed in [-1, 1], and a 1: codes then see how far a state is out, not its direction alone."""
    scaled = (observations - CENTRE) / SCALE
    return np.concatenate([scaled, np.full((len(scaled), 1), 0.5)], 1)


def run(bits: int, beta: float, seed: int, steps: int) -> dict:
    """One run; what it was, the shares of solved episodes by batch, and how many codes were seen."""
    start = time.perf_counter()
    torch.set_num_threads(1)
    make = lambda: Sparse(gymnasium.make("MountainCarContinuous-v0", max_episode_steps=LONGEST))  # noqa: E731
    counts = ExactCounts()
    env = CountBonus(DummyVecEnv([make] * ENVIRONMENTS), SimHash(3, bits, seed), counts, beta, lifted)
    env.seed(seed)
    policy = {"net_arch": [32], "activation_fn": torch.nn.Tanh}
    model = TRPO(
        "MlpPolicy", env, n_steps=BATCH // ENVIRONMENTS, batch_size=BATCH // 10, gamma=0.99, gae_lambda=1.0,
        target_kl=0.01, policy_kwargs=policy, seed=seed, device="cpu",
    )  # fmt: skip
    solved = Solved()
    model.learn(steps, callback=solved)
    return {
        "bits": bits, "beta": beta, "seed": seed, "steps": steps, "shares": solved.shares, "codes": len(counts),
        "extrinsic": env.extrinsic, "intrinsic": env.intrinsic, "seconds": time.perf_counter() - start,
    }  # fmt: skip


def main() -> None:
    """Run what is not run yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bits", default="32", help="with commas")
    parser.add_argument("--beta", default="0,0.05", help="with commas")
    parser.add_argument("--output", type=Path, default=Path("exploration.json"))
    arguments = parser.parse_args()
    done = [json.loads(line) for line in arguments.output.read_text().splitlines()] if arguments.output.exists() else []
    for seed in range(arguments.seeds):
        for bits in map(int, arguments.bits.split(",")):
            for beta in map(float, arguments.beta.split(",")):
                asked = {"bits": bits, "beta": beta, "seed": seed, "steps": arguments.steps}
                if any(all(one[k] == v for k, v in asked.items()) for one in done):
                    continue
                done.append(run(**asked))
                with arguments.output.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
                print(asked, "last batch:", done[-1]["shares"][-1], f"{done[-1]['seconds']:.0f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
