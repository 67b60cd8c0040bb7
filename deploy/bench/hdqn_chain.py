"""h-DQN beside flat Q-learning on the paper's chain, over seeds.

python deploy/bench/hdqn_chain.py --seeds 12 --output chain.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from neurips16.training.systems.hdqn.tabular import Learnt, Settings, greedy_return, learn, learn_flat

LAST, CURVE = 3000, 60


def main() -> None:
    """Learn, print the table, and keep what the card needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--output", type=Path, default=Path("chain.json"))
    arguments = parser.parse_args()
    settings = Settings()
    found = {}
    for name, learner in (("h-DQN", learn), ("Q-learning", learn_flat)):
        runs = [learner(settings, seed) for seed in range(arguments.seeds)]
        found[name] = summary(runs, settings)
        print(f"{name}: {found[name]['mean']:.4f} ± {found[name]['deviation']:.4f} in the last {LAST} episodes")  # noqa: T201
    arguments.output.write_text(json.dumps({"settings": vars(settings), "last": LAST, "learners": found}) + "\n")


def summary(runs: list[Learnt], settings: Settings) -> dict:
    """Average returns of the last episodes by seed, exact returns without exploration, curves and chosen goals."""
    last = [float(run.returns[-LAST:].mean()) for run in runs]
    curves = [run.returns.reshape(CURVE, -1).mean(1).round(5).tolist() for run in runs]
    result = {
        "mean": float(np.mean(last)), "deviation": float(np.std(last, ddof=1)), "last": last, "curves": curves,
        "greedy": [round(greedy_return(run), 6) for run in runs], "episodes": settings.episodes,
    }  # fmt: skip
    goals = [run.goals for run in runs if run.goals is not None]
    if goals:
        chosen = np.sum(goals, axis=0).reshape(CURVE, -1, goals[0].shape[1]).sum(1)
        result["goals"] = (chosen / chosen.sum(1, keepdims=True)).round(4).tolist()
    return result


if __name__ == "__main__":
    main()
