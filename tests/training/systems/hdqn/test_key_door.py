"""The maze with key and door: what it pays for, what its masks show, and that both learners run on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurips16.training.systems.hdqn.key_door import COLUMNS, DOOR, GOALS, KEY, PIXELS, SHORTEST, KeyDoor, masks
from neurips16.training.systems.hdqn.networks import PixelValues
from neurips16.training.systems.hdqn.pixels import PixelRun, PixelSettings, learn_flat_pixels, learn_pixels, solves

UP, DOWN, LEFT, RIGHT = range(4)
OVER = COLUMNS - 1
THERE = [RIGHT] * (OVER - 1) + [DOWN] * 2 + [LEFT] * OVER + [DOWN] * 2 + [RIGHT] * OVER
BACK = [LEFT] * OVER + [UP] * 2 + [RIGHT] * OVER + [UP] * 2 + [LEFT] * OVER


def test_the_shortest_way_opens_the_door_and_nothing_before_it_pays():
    env = KeyDoor()
    env.reset()
    steps = [env.step(action) for action in THERE + BACK]
    assert len(steps) == SHORTEST
    assert [reward for _, reward, *_ in steps] == [0.0] * (SHORTEST - 1) + [1.0]
    assert [ended for _, _, ended, *_ in steps] == [False] * (SHORTEST - 1) + [True]
    reached = np.array([info["reached"] for *_, info in steps])
    assert reached[len(THERE) - 1, KEY]
    assert reached.any(0).all()


def test_without_the_key_the_door_is_a_wall():
    env = KeyDoor()
    before, _ = env.reset()
    after, reward, ended, _, info = env.step(LEFT)
    np.testing.assert_array_equal(after, before)
    assert (reward, ended, info["reached"][DOOR]) == (0.0, False, False)


def test_masks_lie_on_the_objects_and_the_key_is_seen_to_be_held():
    env = KeyDoor()
    before, _ = env.reset()
    for number, mask in enumerate(masks()):
        assert mask.sum() == 255 * PIXELS**2
        assert len(np.unique(before[mask > 0], axis=0)) == 1, GOALS[number]
    for action in THERE:
        held, *_ = env.step(action)
    assert (held[masks()[KEY] > 0] != before[masks()[KEY] > 0]).any()


def test_values_have_a_row_for_each_picture_and_see_the_mask():
    torch.manual_seed(0)
    image, _ = KeyDoor().reset()
    pictures, goals = torch.from_numpy(image)[None].repeat(4, 1, 1, 1), torch.from_numpy(masks())
    values = PixelValues(4, 5, *image.shape[:2])(pictures, goals)
    assert values.shape == (4, 5)
    assert len(values.unique(dim=0)) == 4


@pytest.mark.parametrize("learner", [learn_pixels, learn_flat_pixels])
def test_a_short_run_is_decided_by_its_seed(learner):
    settings = PixelSettings(steps=500, first_phase=200, annealing=200, memory=400, batch=8)
    first, again = learner(settings, 3), learner(settings, 3)
    assert first.ended_at == again.ended_at
    assert first.ended_at[-1] >= 500
    for one, other in zip(first.controller.parameters(), again.controller.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert 0 <= solves(first, 2, 0) <= 1


def test_what_walks_the_shortest_way_is_counted_as_solving():
    class Walks(torch.nn.Module):
        """Values that say the next action of the shortest way."""

        def __init__(self):
            super().__init__()
            self.left = []

        def forward(self, image, mask=None):
            self.left = self.left or THERE + BACK
            return torch.nn.functional.one_hot(torch.tensor([self.left.pop(0)]), 4).float()

    assert solves(PixelRun(Walks(), None), 3, 0, epsilon=0.0) == 1.0
