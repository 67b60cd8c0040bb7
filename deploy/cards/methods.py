"""Writes the cards of the methods that are not trained: gibbs, linear_landscape, simhash and hdqn.

    python deploy/cards/methods.py gibbs

Figures are computed once and kept beside the card; those of simhash and hdqn are recorded by
deploy/bench/exploration.py and deploy/bench/hdqn_chain.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from recording import CARDS, ROOT

from neurips16.export.analysis.landscape import landscape
from neurips16.export.analysis.mixing_time import exact
from neurips16.training.systems.gibbs.examples import example
from neurips16.training.systems.linear_landscape.classification import classify
from neurips16.training.systems.linear_landscape.network import Weights

GIBBS = (
    "sequence:4", "sequence:8", "sequence:16", "sequence:32", "islands:4", "islands:6", "islands:8",
    "pyramid:4", "pyramid:8", "pyramid:16", "pyramid:32",
)  # fmt: skip
CUBE_ROOT = 3 ** (1 / 3)
ZERO, LAST = np.zeros((2, 2)), np.diag([0.0, 1.0])
WORKED: dict[str, Weights] = {
    "one hidden layer of 2, all weights 0": [ZERO, ZERO],
    "one hidden layer of 1, all weights 0": [np.zeros((1, 2)), np.zeros((2, 1))],
    "one hidden layer of 1, the first eigenvector": [np.array([[3**0.5, 0]]), np.array([[3**0.5], [0]])],
    "one hidden layer of 1, the second eigenvector": [np.array([[0.0, 1]]), np.array([[0.0], [1]])],
    "two hidden layers of 2, all weights 0": [ZERO] * 3,
    "two hidden layers of 2, the middle the identity": [ZERO, np.eye(2), ZERO],
    "two hidden layers of 2, each diag(0, 1)": [LAST] * 3,
    "two hidden layers of 2, each diag(∛3, 0)": [np.diag([CUBE_ROOT, 0.0])] * 3,
}


def gibbs(card: Path) -> str:
    """The examples' mixing times, and curves of two of them."""

    def measure() -> Any:
        rows = {}
        for name in GIBBS:
            start = time.perf_counter()
            found = exact(example(name), 0, epsilon=0.25, lazy=False)
            rows[name] = {**found["updates"], "seconds": round(time.perf_counter() - start, 2)}
        return rows

    rows = kept(card / "mixing.json", measure)
    for name in ("pyramid:8", "islands:6"):
        exact(example(name), 0, epsilon=0.25, lazy=False, picture=card / f"{name.split(':')[0]}.png", title=name)
    lines = [
        f"| {name} | {r['random']} | {r['forward']} | {r['reverse']} | {r.get('interleaved', '')} | {r['seconds']} |"
        for name, r in rows.items()
    ]
    return "\n".join(
        [
            "**What.** Draws from Potts models in a chosen scan order, and says how many updates a",
            "model needs: exactly,",
            "to a total variation of 1/4 from the worst start (He, De Sa, Mitliagkas, Ré, *Scan Order",
            "in Gibbs Sampling*,",
            "NIPS 2016).",
            "",
            "| example | random scan | in order | reversed | islands in turn | seconds |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            "The paper's table has, up to constants: sequence n² at random, n in the best order, n² in",
            "the worst; islands",
            "2ⁿ, 2ⁿ and n 2ⁿ; pyramid n, n³ and n³. The times above grow so. Two of the paper's five",
            "examples are not here:",
            "the exact definitions of “memorize and swap” and “soft dependencies” were not at hand.",
            "",
            "![pyramid](pyramid.png)",
            "![islands](islands.png)",
        ]
    )


def linear_landscape(card: Path) -> str:
    """The eight worked points, and a picture of one."""
    x, y = np.eye(2), np.diag([3.0, 1.0])
    lines = []
    for name, weights in WORKED.items():
        point = classify(weights, x, y)
        lines.append(
            f"| {name} | {point.loss:.3g} | {point.least_loss:.3g} | {point.eigenvalues[0]:.3g} | {point.kind} |"
        )
    folder = ROOT / "clients/tasks/linear_landscape/examples"
    landscape(str(folder / "saddle.onnx"), folder / "data.npz", picture=card / "saddle.png")
    return "\n".join(
        [
            "**What.** Loss and gradient of deep linear networks, the global minimum in closed form,",
            "and what a critical",
            "point is (Kawaguchi, *Deep Learning without Poor Local Minima*, NIPS 2016, theorem 2.3).",
            "X = I, Y = diag(3, 1):",
            "",
            "| weights | loss | least loss | least curvature | kind |",
            "|---|---|---|---|---|",
            *lines,
            "",
            "A point of curvature 0 or more that is no global minimum is a bad saddle: the theorem",
            "allows it from two hidden",
            "layers on, and only the closed form unmasks it. The last point but one, along its extreme eigenvectors:",
            "",
            "![saddle](saddle.png)",
        ]
    )


def simhash(card: Path) -> str:
    """Sparse MountainCar with and without the bonus, as recorded."""
    runs = [json.loads(line) for line in (card / "exploration.jsonl").read_text().splitlines()]
    betas = sorted({run["beta"] for run in runs})
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    lines = []
    for beta in betas:
        shares = np.array([run["shares"] for run in runs if run["beta"] == beta])
        batches = 5000 * np.arange(1, shares.shape[1] + 1)
        axes.plot(batches, shares.mean(0), label=f"β = {beta:g}, {len(shares)} seeds")
        axes.fill_between(batches, shares.min(0), shares.max(0), alpha=0.2)
        reached = int((shares.max(1) > 0).sum())
        codes = np.mean([run["codes"] for run in runs if run["beta"] == beta])
        lines.append(f"| {beta:g} | {len(shares)} | {reached} | {shares[:, -1].mean():.3f} | {codes:.0f} |")
    axes.set(xlabel="steps", ylabel="share of solved episodes", title="MountainCar, reward at the goal only")
    axes.legend(frameon=False)
    figure.savefig(card / "exploration.png", dpi=150)
    return "\n".join(
        [
            "**What.** Hashes states by the signs of fixed projections and counts them, exactly or in",
            "six tables (Tang et al.,",
            "*#Exploration*). TRPO of sb3-contrib, a reward of 1 at the goal and none elsewhere, "
            f"{runs[0]['steps']} steps, {runs[0]['bits']} bits:",
            "",
            "`simhash` ships. `simhash_counts` is exported beside it and does not ship: its 6 MiB of",
            "tables travel with every request of a sequence.",
            "",
            "| β | seeds | seeds that ever reached the goal | solved in the last batch | codes seen |",
            "|---|---|---|---|---|",
            *lines,
            "",
            "**What this does not show.** No seed solves the task in so few steps, and five seeds are too",
            "few to be more than a hint of the paper's figure. The setting was chosen after a look: one seed",
            "with β = 0.05, whose codes saw directions alone, reached the goal once in 40,000 steps; then came",
            "the constant beside position and speed, and β = 0.1. Bits and β were not swept, CartPoleSwingup",
            "and Atari games were not run, and the autoencoder's hash was tested and not used in a run.",
            "",
            "![curves](exploration.png)",
        ]
    )


def hdqn(card: Path) -> str:
    """The chain's learners, as recorded."""
    found = json.loads((card / "chain.json").read_text())
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    curves, goals = figure.subplots(1, 2)
    lines = []
    for name, one in found["learners"].items():
        values = np.array(one["curves"])
        episodes = one["episodes"] // values.shape[1] * np.arange(1, values.shape[1] + 1)
        curves.plot(episodes, values.mean(0), label=name)
        curves.fill_between(episodes, values.min(0), values.max(0), alpha=0.2)
        best = sum(abs(value - 0.208) < 1e-6 for value in one["greedy"])
        lines.append(f"| {name} | {len(one['last'])} | {one['mean']:.3f} ± {one['deviation']:.3f} | {best} |")
    curves.axhline(0.208, color="grey", ls=":", lw=1)
    curves.set(
        xlabel="episodes", ylabel="reward, mean and range over seeds", title="0.208 is the most that is possible"
    )
    curves.legend(frameon=False)
    shares = np.array(found["learners"]["h-DQN"]["goals"])
    goals.stackplot(episodes, shares.T, labels=[f"state {i + 1}" for i in range(shares.shape[1])])
    goals.set(xlabel="episodes", ylabel="share of the goals chosen", ylim=(0, 1), xlim=(episodes[0], episodes[-1]))
    goals.legend(fontsize=7, loc="lower left")
    figure.savefig(card / "chain.png", dpi=150)
    return "\n".join(
        [
            "**What.** A meta-controller picks goals, a controller acts towards them (Kulkarni et al.,",
            "NIPS 2016), as tables",
            f"on the paper's six-state chain. Averages of the last {found['last']} episodes, exploration included:",
            "",
            "| learner | seeds | average reward | seeds whose greedy policy is optimal |",
            "|---|---|---|---|",
            *lines,
            "| paper: h-DQN, Q-learning | | about 0.13, about 0.01 | |",
            "",
            "The most that any policy can expect is 0.208. The controller's exploration ends by the",
            "number of tries as well",
            "as by success: state 6 is reached one time in five at best, so that success alone would never end it.",
            "",
            "**What is not here.** The grid world with key and door, networks over pixels, and Montezuma's Revenge.",
            "",
            "![curves and goals](chain.png)",
        ]
    )


def kept(path: Path, measure: Callable[[], Any]) -> Any:
    """What a file holds; measured first if it is not there."""
    if not path.exists():
        path.write_text(json.dumps(measure(), indent=1) + "\n")
    return json.loads(path.read_text())


TITLES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "gibbs": ("Gibbs sampling and its scan orders", gibbs),
    "linear_landscape": ("The loss surface of linear networks", linear_landscape),
    "simhash": ("Counting states by SimHash", simhash),
    "hdqn": ("Goals on a chain: h-DQN", hdqn),
}


def main() -> None:
    """Write one card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=sorted(TITLES))
    system = parser.parse_args().system
    card = CARDS / system
    card.mkdir(parents=True, exist_ok=True)
    title, text = TITLES[system]
    again = f"`neurips16 export {system} --repository serving/models` makes the models again."
    head = f"# {title}: {system}\n\nWritten by `python deploy/cards/methods.py {system}`."
    (card / "README.md").write_text(f"{head}\n\n{text(card)}\n\n## Again\n\n{again}\n")
    print(f"wrote {card / 'README.md'}")  # noqa: T201


if __name__ == "__main__":
    main()
