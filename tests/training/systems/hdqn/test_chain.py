"""The chain's exact values, simulated ones, and what the two learners come to."""

from __future__ import annotations

from importlib.metadata import entry_points

import gymnasium
import numpy as np
import pytest

from neurips16.training.systems.hdqn.chain import FAR, START, STATES, Chain, expected_return, reach
from neurips16.training.systems.hdqn.environments import CHAIN
from neurips16.training.systems.hdqn.tabular import Learnt, Settings, greedy_return, learn, learn_flat

ALWAYS = np.ones(STATES)


def test_the_exact_values():
    np.testing.assert_allclose(reach(ALWAYS)[1:5], [0.2, 0.4, 0.6, 0.8])
    assert expected_return(ALWAYS) == pytest.approx(0.208)
    noisy = 0.95 * ALWAYS  # right, but for one action in ten at random
    assert reach(noisy)[START] == pytest.approx(0.162, abs=5e-4)
    uniform = 0.5 * ALWAYS
    assert reach(uniform)[START] == pytest.approx(0.00826, abs=5e-6)
    assert expected_return(uniform) == pytest.approx(0.0182, abs=5e-5)


def test_simulation_agrees():
    env = Chain()
    env.reset(seed=0)
    returns = []
    for _ in range(4000):
        env.reset()
        ended = False
        while not ended:
            _, reward, ended, _, _ = env.step(0 if env.visited else 1)
        returns.append(reward)
    assert np.mean(returns) == pytest.approx(0.208, abs=4 * np.std(returns) / 4000**0.5)


def test_gymnasium_finds_the_environment():
    if CHAIN not in gymnasium.registry:  # not every release asks packages which environments they have
        (entry,) = (e for e in entry_points(group="gymnasium.envs") if e.name == "neurips16")
        entry.load()()
    env = gymnasium.make(CHAIN, render_mode="rgb_array")
    state, _ = env.reset(seed=1)
    assert state == START
    assert env.render().shape == (1, STATES, 3)


def test_greedy_returns_are_exact():
    right = np.zeros((STATES, 2))
    right[:, 1] = 1
    assert greedy_return(Learnt(None, right, np.zeros(0))) == pytest.approx(0.208)
    assert greedy_return(Learnt(None, right[:, ::-1], np.zeros(0))) == pytest.approx(0.01)
    meta = np.zeros((STATES, STATES))
    meta[:, FAR] = 1
    controller = np.zeros((STATES, STATES, 2))
    controller[:, FAR, 1] = 1
    assert greedy_return(Learnt(meta, controller, np.zeros(0))) == pytest.approx(0.208)


@pytest.mark.slow
def test_goals_are_worth_it():
    settings = Settings(episodes=5000, first_phase=1500, annealing=1500, tries=800)
    learnt = learn(settings, 0)
    assert greedy_return(learnt) == pytest.approx(0.208)
    assert learnt.returns[-1000:].mean() > 0.12
    flat = learn_flat(settings, 0)
    assert flat.returns[-1000:].mean() < 0.08
