"""h-DQN over pixels beside DQN without goals on the maze with key and door, over seeds.

    python deploy/bench/hdqn_maze.py --seeds 3 --output maze.jsonl

One line for each run goes to the file as soon as the run is done; runs that it has already are not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from neurips16.training.systems.hdqn.pixels import PixelSettings, learn_flat_pixels, learn_pixels, solves

LEARNERS = {"h-DQN": learn_pixels, "DQN": learn_flat_pixels}
EPISODES, CURVE = 100, 20


def main() -> None:
    """Run what is not run yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=PixelSettings.steps)
    parser.add_argument("--output", type=Path, default=Path("maze.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = replace(PixelSettings(), steps=arguments.steps)
    lines = arguments.output.read_text().splitlines() if arguments.output.exists() else []
    done = {(one["learner"], one["seed"], one["settings"]["steps"]) for one in map(json.loads, lines)}
    for seed in range(arguments.seeds):
        for name, learner in LEARNERS.items():
            if (name, seed, settings.steps) in done:
                continue
            start = time.process_time()
            run = learner(settings, seed)
            parts = np.array_split(np.arange(len(run.solved)), CURVE)
            row = {
                "learner": name, "seed": seed, "settings": vars(settings),
                "solved": solves(run, EPISODES, seed), "episodes": EPISODES,
                "steps": [run.ended_at[part[-1]] for part in parts],
                "curve": [round(float(np.mean([run.solved[i] for i in part])), 4) for part in parts],
                "goals": [np.sum([run.goals[i] for i in part], 0).tolist() for part in parts],
                "successes": run.successes.round(3).tolist(), "cpu_s": round(time.process_time() - start, 1),
            }  # fmt: skip
            with arguments.output.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(name, seed, row["solved"], row["successes"], f"{row['cpu_s']} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
