"""The sparse tasks: what they pay, and that the pole moves as a pole does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurips16.training.systems.simhash.tasks import EDGE_M, LONGEST, TASKS, SparseMountainCar, SparseSwingup


@pytest.mark.parametrize("task", sorted(TASKS))
def test_doing_nothing_earns_nothing(task):
    env = TASKS[task]()
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    steps = [env.step([0.0]) for _ in range(LONGEST)]
    assert sum(reward for _, reward, *_ in steps) == 0
    assert [cut for *_, cut, _ in steps] == [False] * (LONGEST - 1) + [True]


def test_the_car_that_swings_reaches_the_goal_and_is_paid_once():
    env = SparseMountainCar()
    observation, _ = env.reset(seed=0)
    earned, ended = [], False
    while not ended:
        observation, reward, ended, cut, _ = env.step([1.0 if observation[1] >= 0 else -1.0])
        assert not cut
        earned.append(reward)
    assert sum(earned) == earned[-1] == 1.0


def test_an_upright_pole_is_paid_and_falls_and_leaving_the_track_ends():
    env = SparseSwingup()
    env.reset(seed=0)
    env._angle, env._spin = 0.1, 0.0
    rewards = [env.step([0.0])[1] for _ in range(60)]
    assert rewards[0] == 1.0
    assert rewards[-1] == 0.0
    env._place = EDGE_M
    env._speed = 1.0
    _, reward, left, _, _ = env.step([0.0])
    assert (reward, left) == (0.0, True)


def test_a_pole_left_alone_swings_with_its_own_period():
    env = SparseSwingup()
    env.reset(seed=0)
    env._place = env._speed = env._spin = 0.0
    env._angle = math.pi - 0.1
    angles = []
    for _ in range(200):
        env.step([0.0])
        angles.append(env._angle - math.pi)
    crossings = np.flatnonzero(np.diff(np.sign(angles)))
    # half a period of a rod on a free cart: ω² = g / (l (4/3 - m/(m + M)))
    half = math.pi / math.sqrt(9.8 / (0.5 * (4 / 3 - 0.1 / 1.1)))
    assert np.diff(crossings)[0] * 0.02 == pytest.approx(half, abs=0.03)
