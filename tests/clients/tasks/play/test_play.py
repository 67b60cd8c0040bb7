"""The shipped hierarchy plays the chain as well as anything can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.tasks.play.episodes import make_environment, play_episodes
from neurips16.clients.tasks.play.page import show

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def client():
    return LocalClient(ROOT / "serving/models")


def test_right_up_to_the_far_end_and_then_home(client):
    policy = client.policy("hdqn")
    assert policy.environment == "neurips16/Chain-v0"
    there = [client.run(policy.act(state)) for state in (1, 2, 3, 4)]
    assert (there, policy.goal) == ([1, 1, 1, 1], 5)  # goals on the way may be others; the last is the far end
    assert [client.run(policy.act(state)) for state in (5, 4, 3, 2, 1)] == [0, 0, 0, 0, 0]
    policy.reset()
    assert policy.goal is None


def test_a_system_without_a_policy_is_refused(client):
    with pytest.raises(InvalidInputError, match="hdqn, got 'rfcn'"):
        client.policy("rfcn")


def test_average_returns_reach_the_ceiling(client):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    policy = client.policy()
    played = list(play_episodes(client, policy, make_environment(policy.environment), 400))
    assert np.mean([one.gained for one in played]) == pytest.approx(0.208, abs=0.08)
    assert all(one.goals and one.steps >= 1 for one in played)


def test_the_page_shows_an_episode(client):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    film, said = show(client, 4)
    assert "data:image/gif;base64," in film
    assert said.startswith("neurips16/Chain-v0: return ")


def test_an_environment_that_is_not_installed_is_refused():
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    with pytest.raises(InvalidInputError, match="neurips16/Cube-v0 cannot be made"):
        make_environment("neurips16/Cube-v0")


def test_what_is_no_observation_is_refused(client):
    with pytest.raises(InvalidInputError, match="whole numbers"):
        client.choose_goals([0.5])
    with pytest.raises(InvalidInputError, match="a goal for each"):
        client.choose_actions([1, 2], [3])
