"""The shipped hierarchy plays the chain as well as anything can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.tasks.play.calls import Policy

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def client():
    return LocalClient(ROOT / "serving/models")


def test_the_far_end_first_and_then_home(client):
    policy = Policy(client)
    assert (policy.act(1), policy.goal) == (1, 5)
    assert policy.act(3) == 1
    policy.act(5)
    assert policy.goal is not None
    policy.reset()
    assert policy.goal is None


def test_average_returns_reach_the_ceiling(client):
    gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    env = gymnasium.make("neurips16/Chain-v0")
    policy, returns = Policy(client), []
    for episode in range(400):
        observation, _ = env.reset(seed=0 if episode == 0 else None)
        policy.reset()
        ended, reward = False, 0.0
        while not ended:
            observation, reward, ended, cut, _ = env.step(policy.act(observation))
            ended = ended or cut
        returns.append(reward)
    assert np.mean(returns) == pytest.approx(0.208, abs=0.08)


def test_what_is_no_observation_is_refused(client):
    with pytest.raises(InvalidInputError, match="whole numbers"):
        client.choose_goals([0.5])
    with pytest.raises(InvalidInputError, match="a goal for each"):
        client.choose_actions([1, 2], [3])
