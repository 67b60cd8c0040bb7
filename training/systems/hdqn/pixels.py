"""h-DQN over pixels, and DQN without goals beside it, on environments whose objects are the goals.

Both levels are deep Q-networks with a target network and a replay memory of their own. A goal is followed until it is
reached, given up after so many steps, or cut off with the episode; the controller is paid 1 for reaching it, and a
reached goal ends what is bootstrapped. In the first phase goals are drawn at random and the controller alone learns.

Unlike the paper's, the critic judges a replayed transition by every goal, not by the one that was followed: what was
done on the way to one object teaches the ways to the others too, and far fewer steps suffice.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.training.systems.hdqn.key_door import LONGEST, KeyDoor, masks
from neurips16.training.systems.hdqn.networks import PixelValues


@dataclass(frozen=True)
class PixelSettings:
    """How both learners learn.

    Attributes:
        steps: of the environment, in all.
        first_phase: steps in which the controller alone learns, on random goals.
        annealing: steps over which the meta-controller's exploration, or that of DQN, falls to its least.
        patience: steps after which a goal is given up.
        discount: of both levels.
        rate: of Adam.
        batch: replayed at a time.
        every: steps from one replay to the next.
        refresh: replays from one copy of the target network to the next.
        memory: transitions kept of actions; of goals a tenth of it.
        least: exploration at its least.
        successes: of how many last tries a goal's success rate is the mean.
    """

    steps: int = 40_000
    first_phase: int = 26_000
    annealing: int = 6_000
    patience: int = 20
    discount: float = 0.95
    rate: float = 1e-3
    batch: int = 64
    every: int = 8
    refresh: int = 50
    memory: int = 20_000
    least: float = 0.05
    successes: int = 20


@dataclass
class PixelRun:
    """What a run leaves.

    Attributes:
        controller: values of actions.
        meta: values of goals; None of DQN without goals.
        solved: by episode, whether it ended with the reward.
        ended_at: by episode, after how many steps of the run it ended.
        goals: by episode, how often each goal was chosen.
        successes: by goal, the share of the last tries that reached it.
    """

    controller: nn.Module
    meta: nn.Module | None
    solved: list[bool] = field(default_factory=list)
    ended_at: list[int] = field(default_factory=list)
    goals: list[list[int]] = field(default_factory=list)
    successes: np.ndarray = field(default_factory=lambda: np.zeros(0))


class _Level:
    """A Q-network with its target, its optimiser and its transitions, which have a reward and an end for each goal."""

    def __init__(self, network: nn.Module, settings: PixelSettings, size: int, goals: int, rng: np.random.Generator):
        self.network, self.target = network, copy.deepcopy(network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(network.parameters(), settings.rate)
        self._settings, self._rng, self._size, self._count, self._replays = settings, rng, size, 0, 0
        shape = (size, *KeyDoor.observation_space.shape)  # type: ignore[misc]
        self._before, self._after = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        self._choice = np.zeros(size, np.int64)
        self._reward, self._last = np.zeros((size, goals), np.float32), np.zeros((size, goals), np.float32)

    def add(self, before: np.ndarray, choice: int, reward: Any, after: np.ndarray, last: Any) -> None:
        place = self._count % self._size
        self._before[place], self._after[place], self._choice[place] = before, after, choice
        self._reward[place], self._last[place] = reward, last
        self._count += 1

    def replay(self, mask: Tensor | None) -> None:
        """One step of learning; with the goals' masks uint8 [G, H, W] each transition is judged by one of the goals."""
        if self._count < self._settings.batch:
            return
        rows = self._rng.integers(min(self._count, self._size), size=self._settings.batch)
        goal = self._rng.integers(self._reward.shape[1], size=len(rows))
        before, after = torch.from_numpy(self._before[rows]), torch.from_numpy(self._after[rows])
        goals = None if mask is None else mask[torch.from_numpy(goal)]
        with torch.no_grad():
            future = self.target(after, goals).max(1).values * torch.from_numpy(1 - self._last[rows, goal])
            wanted = torch.from_numpy(self._reward[rows, goal]) + self._settings.discount * future
        value = self.network(before, goals)[torch.arange(len(rows)), torch.from_numpy(self._choice[rows])]
        loss = nn.functional.smooth_l1_loss(value, wanted)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._replays += 1
        if self._replays % self._settings.refresh == 0:
            self.target.load_state_dict(self.network.state_dict())

    @torch.no_grad()
    def best(self, image: np.ndarray, mask: Tensor | None = None) -> int:
        return int(self.network(torch.from_numpy(image)[None], mask).argmax())


def learn_pixels(settings: PixelSettings, seed: int) -> PixelRun:
    """h-DQN on the maze."""
    torch.manual_seed(seed)
    rng, env, mask = np.random.default_rng(seed), KeyDoor(), torch.from_numpy(masks())
    height, width, _ = env.observation_space.shape  # type: ignore[misc]
    actions, count = int(env.action_space.n), len(mask)  # type: ignore[attr-defined]
    controller = _Level(PixelValues(4, actions, height, width), settings, settings.memory, count, rng)
    meta = _Level(PixelValues(3, count, height, width), settings, settings.memory // 10, 1, rng)
    run, success, step = PixelRun(controller.network, meta.network), np.zeros(count), 0
    while step < settings.steps:
        (image, _), ended, age, chosen, gained = env.reset(), False, 0, [0] * count, 0.0
        while not ended and age < LONGEST:
            past = step - settings.first_phase
            explore = 1.0 if past < 0 else max(settings.least, 1 - past / settings.annealing)
            goal = int(rng.integers(count)) if rng.random() < explore else meta.best(image)
            chosen[goal] += 1
            begun, paid, reached, tried = image, 0.0, False, 0
            while not (ended or reached) and age < LONGEST and tried < settings.patience:
                epsilon = max(settings.least, 1 - success[goal])
                greedy = rng.random() >= epsilon
                action = controller.best(image, mask[goal][None]) if greedy else int(rng.integers(actions))
                after, reward, ended, _, info = env.step(action)
                reached = bool(info["reached"][goal])
                controller.add(image, action, info["reached"], after, info["reached"] | ended)
                image, paid, step, age, tried = after, paid + reward, step + 1, age + 1, tried + 1
                if step % settings.every == 0:
                    controller.replay(mask)
                    if past >= 0:
                        meta.replay(None)
            success[goal] += (reached - success[goal]) / settings.successes
            meta.add(begun, goal, paid, image, ended)
            gained += paid
        _close(run, gained, step, chosen)
    run.successes = success
    return run


def learn_flat_pixels(settings: PixelSettings, seed: int) -> PixelRun:
    """DQN without goals on the maze: as many steps, as much replay, the same network without the mask."""
    torch.manual_seed(seed)
    rng, env = np.random.default_rng(seed), KeyDoor()
    height, width, _ = env.observation_space.shape  # type: ignore[misc]
    actions = int(env.action_space.n)  # type: ignore[attr-defined]
    level = _Level(PixelValues(3, actions, height, width), settings, settings.memory, 1, rng)
    run, step = PixelRun(level.network, None), 0
    while step < settings.steps:
        (image, _), ended, age, gained = env.reset(), False, 0, 0.0
        while not ended and age < LONGEST:
            epsilon = max(settings.least, 1 - step / (settings.first_phase + settings.annealing))
            action = int(rng.integers(actions)) if rng.random() < epsilon else level.best(image)
            after, reward, ended, _, _ = env.step(action)
            level.add(image, action, reward, after, ended)
            image, gained, step, age = after, gained + reward, step + 1, age + 1
            if step % settings.every == 0:
                level.replay(None)
        _close(run, gained, step, [])
    return run


@torch.no_grad()
def solves(run: PixelRun, episodes: int, seed: int, *, epsilon: float = 0.05, patience: int = 20) -> float:
    """The share of episodes in which what was learnt opens the door, with a little exploration so that they differ."""
    rng, env, mask = np.random.default_rng(seed), KeyDoor(), torch.from_numpy(masks())
    solved = 0
    for _ in range(episodes):
        (image, info), goal, tried = env.reset(), None, 0
        for _ in range(LONGEST):
            picture = torch.from_numpy(image)[None]
            if run.meta is not None and (goal is None or info["reached"][goal] or tried == patience):
                goal, tried = int(run.meta(picture).argmax()), 0
            values: Any = run.controller(picture, None if goal is None else mask[goal][None])
            action = int(rng.integers(values.shape[1])) if rng.random() < epsilon else int(values.argmax())
            image, _, ended, _, info = env.step(action)
            tried += 1
            if ended:
                solved += 1
                break
    return solved / episodes


def _close(run: PixelRun, gained: float, step: int, chosen: list[int]) -> None:
    run.solved.append(gained > 0)
    run.ended_at.append(step)
    run.goals.append(chosen)
