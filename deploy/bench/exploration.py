r"""Does counting states help where rewards are sparse? TRPO with and without the bonus of SimHash.

    python deploy/bench/exploration.py --task mountain-car --steps 50000 --seeds 5 --bits 32 --beta 0,0.1 \
        --output exploration.jsonl

One line for each run goes to the file as soon as the run is done; runs that it has already are not done again, so that
a sweep that was stopped goes on by the same command.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from neurips16.training.systems.simhash.bonus import CountBonus
from neurips16.training.systems.simhash.counting import ExactCounts
from neurips16.training.systems.simhash.hashing import SimHash
from neurips16.training.systems.simhash.tasks import TASKS

BATCH, ENVIRONMENTS = 5000, 10


class Returns(BaseCallback):
    """The mean extrinsic return of the episodes that ended in each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[float] = []
        self._running = np.zeros(ENVIRONMENTS)
        self._ended: list[float] = []

    def _on_step(self) -> bool:
        for i, (done, info) in enumerate(zip(self.locals["dones"], self.locals["infos"], strict=True)):
            self._running[i] += info["extrinsic"]
            if done:
                self._ended.append(float(self._running[i]))
                self._running[i] = 0
        return True

    def _on_rollout_end(self) -> None:
        self.batches.append(float(np.mean(self._ended)) if self._ended else 0.0)
        self._ended = []


def lifted(observations: np.ndarray) -> np.ndarray:
    """Observations and a constant: codes then see how far a state is out, not its direction alone."""
    return np.concatenate([observations, np.full((len(observations), 1), 0.5)], 1)


def run(task: str, bits: int, beta: float, seed: int, steps: int) -> dict:
    """One run; what it was, the mean returns by batch, and how many codes were seen."""
    start = time.process_time()
    torch.set_num_threads(1)
    counts, venv = ExactCounts(), DummyVecEnv([TASKS[task]] * ENVIRONMENTS)
    features = venv.observation_space.shape[0] + 1
    env = CountBonus(venv, SimHash(features, bits, seed), counts, beta, lifted)
    env.seed(seed)
    policy = {"net_arch": [32], "activation_fn": torch.nn.Tanh}
    model = TRPO(
        "MlpPolicy", env, n_steps=BATCH // ENVIRONMENTS, batch_size=BATCH // 10, gamma=0.99, gae_lambda=1.0,
        target_kl=0.01, policy_kwargs=policy, seed=seed, device="cpu",
    )  # fmt: skip
    returns = Returns()
    model.learn(steps, callback=returns)
    return {
        "task": task, "bits": bits, "beta": beta, "seed": seed, "steps": steps, "returns": returns.batches,
        "codes": len(counts), "extrinsic": env.extrinsic, "intrinsic": env.intrinsic,
        "cpu_s": round(time.process_time() - start, 1),
    }  # fmt: skip


def main() -> None:
    """Run what is not run yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(TASKS), default="mountain-car")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bits", default="32", help="with commas")
    parser.add_argument("--beta", default="0,0.1", help="with commas")
    parser.add_argument("--output", type=Path, default=Path("exploration.jsonl"))
    arguments = parser.parse_args()
    done = [json.loads(line) for line in arguments.output.read_text().splitlines()] if arguments.output.exists() else []
    for seed in range(arguments.seeds):
        for bits in map(int, arguments.bits.split(",")):
            for beta in map(float, arguments.beta.split(",")):
                asked = {"task": arguments.task, "bits": bits, "beta": beta, "seed": seed, "steps": arguments.steps}
                if any(all(one[k] == v for k, v in asked.items()) for one in done):
                    continue
                done.append(run(**asked))
                with arguments.output.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
                returns = done[-1]["returns"]
                print(asked, "first and last:", returns[0], returns[-1], f"{done[-1]['cpu_s']} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
