"""h-DQN with tables in place of networks, and flat Q-learning beside it.

The meta-controller picks a goal, one of the states; the controller acts until the goal is reached or the episode ends,
and is paid 1 for reaching it. Both learn from replayed transitions. The controller explores less the better it is at a
goal, and the oftener it has tried: state 6 is reached one time in five at best, so that success alone would never end
its exploration. A reached goal ends what is bootstrapped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neurips16.training.systems.hdqn.chain import END, FAR, LEFT, RIGHT, START, STATES, Chain

LEAST_EPSILON = 0.1


@dataclass(frozen=True)
class Settings:
    """How the learners learn.

    Attributes:
        episodes: in all; the first ``first_phase`` of them train the controller alone, on random goals.
        rate: of learning.
        discount: of both levels.
        annealing: episodes over which the meta-controller's exploration falls from 1, after the first phase.
        memory: transitions kept for each level.
        batch: replayed after each step, and after each goal.
        successes: of how many last tries a goal's success rate is the mean.
        tries: of a goal, after which its exploration is at its least.
    """

    episodes: int = 12_000
    first_phase: int = 2000
    rate: float = 0.05
    discount: float = 0.975
    annealing: int = 4000
    memory: int = 10_000
    batch: int = 8
    successes: int = 100
    tries: int = 2000


@dataclass
class Learnt:
    """What a run leaves.

    Attributes:
        meta: float64 [S, G], values of goals; None of flat Q-learning.
        controller: float64 [S, G, A], or [S, A] of flat Q-learning.
        returns: float64 [episodes].
        goals: int64 [episodes, G], how often each goal was chosen in an episode.
    """

    meta: np.ndarray | None
    controller: np.ndarray
    returns: np.ndarray
    goals: np.ndarray | None = None


@dataclass
class _Memory:
    """The last so many transitions, of numbers."""

    size: int
    rows: list[tuple] = field(default_factory=list)
    place: int = 0

    def add(self, row: tuple) -> None:
        if len(self.rows) < self.size:
            self.rows.append(row)
        else:
            self.rows[self.place] = row
            self.place = (self.place + 1) % self.size

    def draw(self, count: int, rng: np.random.Generator) -> list[tuple]:
        return [self.rows[i] for i in rng.integers(len(self.rows), size=count)] if self.rows else []


def learn(settings: Settings, seed: int) -> Learnt:
    """h-DQN on the chain."""
    rng, env = np.random.default_rng(seed), Chain()
    env.reset(seed=seed)
    meta, controller = np.zeros((STATES, STATES)), np.zeros((STATES, STATES, 2))
    moves, choices = _Memory(settings.memory), _Memory(settings.memory)
    success, tries = np.zeros(STATES), np.zeros(STATES)
    returns, goals = np.zeros(settings.episodes), np.zeros((settings.episodes, STATES), np.int64)
    for episode in range(settings.episodes):
        past = max(0, episode - settings.first_phase)
        explore = max(LEAST_EPSILON, 1 - past / settings.annealing)
        state, ended = env.reset()[0], False
        while not ended:
            goal = int(rng.integers(STATES)) if rng.random() < explore else _best(meta[state], rng)
            goals[episode, goal] += 1
            begun, gained, reached = state, 0.0, False
            while not (ended or reached):
                epsilon = max(LEAST_EPSILON, 1 - max(success[goal], tries[goal] / settings.tries))
                action = int(rng.integers(2)) if rng.random() < epsilon else _best(controller[state, goal], rng)
                after, reward, ended, _, _ = env.step(action)
                gained += reward
                reached = after == goal
                moves.add((state, goal, action, float(reached), after, ended or reached))
                for s, g, a, r, n, last in moves.draw(settings.batch, rng):
                    target = r if last else r + settings.discount * controller[n, g].max()
                    controller[s, g, a] += settings.rate * (target - controller[s, g, a])
                state = after
            tries[goal] += 1
            success[goal] += (reached - success[goal]) / settings.successes
            choices.add((begun, goal, gained, state, ended))
            if episode >= settings.first_phase:
                for s, g, r, n, last in choices.draw(settings.batch, rng):
                    target = r if last else r + settings.discount * meta[n].max()
                    meta[s, g] += settings.rate * (target - meta[s, g])
            returns[episode] += gained
    return Learnt(meta, controller, returns, goals)


def learn_flat(settings: Settings, seed: int) -> Learnt:
    """Q-learning without goals on the chain, with as much replay, and exploration that falls over all phases."""
    rng, env = np.random.default_rng(seed), Chain()
    env.reset(seed=seed)
    values, moves = np.zeros((STATES, 2)), _Memory(settings.memory)
    returns = np.zeros(settings.episodes)
    for episode in range(settings.episodes):
        epsilon = max(LEAST_EPSILON, 1 - episode / (settings.first_phase + settings.annealing))
        state, ended = env.reset()[0], False
        while not ended:
            action = int(rng.integers(2)) if rng.random() < epsilon else _best(values[state], rng)
            after, reward, ended, _, _ = env.step(action)
            moves.add((state, action, reward, after, ended))
            for s, a, r, n, last in moves.draw(settings.batch, rng):
                target = r if last else r + settings.discount * values[n].max()
                values[s, a] += settings.rate * (target - values[s, a])
            state = after
            returns[episode] += reward
    return Learnt(None, values, returns)


def greedy_return(learnt: Learnt) -> float:
    """The expected return without exploration: exact, from the chances to reach state 6.

    The hierarchy is followed until state 6 is visited: the goal changes where it is reached, and nowhere else.
    """
    if learnt.meta is None:
        right = np.array([_first_best(row) == RIGHT for row in learnt.controller], float)
        chances = _reach_with(lambda state, _: (right[state], 0), 1)
    else:
        meta, controller = learnt.meta, learnt.controller

        def act(state: int, goal: int) -> tuple[float, int]:
            chosen = _first_best(meta[state]) if goal == state else goal
            return float(_first_best(controller[state, chosen]) == RIGHT), chosen

        chances = _reach_with(act, STATES)
    first = 0 if learnt.meta is None else START  # at the start the goal is to be chosen
    chance = float(chances[START, first])
    return chance + 0.01 * (1 - chance)


def _reach_with(act, goals: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The chance to visit state 6 before state 1 for pairs of a state and the goal that is followed, by iteration."""
    chance = np.zeros((STATES, goals))
    chance[FAR] = 1.0
    for _ in range(2000):
        for state in range(END + 1, FAR):
            for goal in range(goals):
                right, chosen = act(state, goal)
                chance[state, goal] = (
                    right / 2 * chance[state + 1, chosen] + (1 - right / 2) * chance[state - 1, chosen]
                )
    return chance


def _best(values: np.ndarray, rng: np.random.Generator) -> int:
    """The place of the largest value, one of them at random where several are."""
    largest = np.flatnonzero(values == values.max())
    return int(largest[rng.integers(len(largest))] if len(largest) > 1 else largest[0])


def _first_best(values: np.ndarray) -> int:
    return int(np.argmax(values)) if values.any() else LEFT
