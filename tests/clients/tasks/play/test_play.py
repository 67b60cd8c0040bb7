"""The shipped hierarchy plays the chain as well as anything can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.tasks.play.calls import Policy
from neurips16.clients.tasks.play.episodes import make_environment

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def client():
    return LocalClient(ROOT / "serving/models")


def test_right_up_to_the_far_end_and_then_home(client):
    policy = Policy(client)  # goals on the way differ from run to run; the last before the far end is the far end
    assert [policy.act(state) for state in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert policy.goal == 5
    assert [policy.act(state) for state in (5, 4, 3, 2, 1)] == [0, 0, 0, 0, 0]
    policy.reset()
    assert policy.goal is None


def test_average_returns_reach_the_ceiling(client):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    env = make_environment("neurips16/Chain-v0")
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


def test_an_environment_that_is_not_installed_is_refused():
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    with pytest.raises(InvalidInputError, match="neurips16/Cube-v0 cannot be made"):
        make_environment("neurips16/Cube-v0")


def test_what_is_no_observation_is_refused(client):
    with pytest.raises(InvalidInputError, match="whole numbers"):
        client.choose_goals([0.5])
    with pytest.raises(InvalidInputError, match="a goal for each"):
        client.choose_actions([1, 2], [3])
