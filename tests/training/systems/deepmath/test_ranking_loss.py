from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurips16.training.data.deepmath.batches import log_chances
from neurips16.training.systems.deepmath.ranking_loss import ranking_loss


def _loss(scores, needed, earlier, log_chance=None):
    scores = torch.tensor(scores)
    chance = torch.zeros(scores.shape[1]) if log_chance is None else torch.tensor(log_chance)
    return ranking_loss(scores, torch.tensor(needed), torch.tensor(earlier), chance)


def test_worked_by_hand():
    """One needed premise of score 2, one negative of score 1 that comes up half the time, one later statement."""
    loss = _loss([[2.0, 1.0, 9.0]], [[True, False, False]], [[True, True, False]], [0.0, math.log(0.5), 0.0])
    assert loss.item() == pytest.approx(math.log1p(math.exp(1.0 + math.log(2) - 2.0)), rel=1e-5)


def test_conjectures_weigh_alike_however_much_they_need():
    one = _loss([[1.0, 0.0, 0.0]], [[True, False, False]], [[True, True, True]])
    two = _loss([[1.0, 3.0, 0.0]], [[True, True, False]], [[True, True, True]])
    both = _loss(
        [[1.0, 0.0, 0.0], [1.0, 3.0, 0.0]], [[True, False, False], [True, True, False]], [[True] * 3, [True] * 3]
    )
    assert both.item() == pytest.approx((one + two).item() / 2)


def test_a_conjecture_without_negatives_costs_nothing_and_has_a_finite_gradient():
    scores = torch.tensor([[1.0, 5.0]], requires_grad=True)
    loss = ranking_loss(scores, torch.tensor([[True, False]]), torch.tensor([[True, False]]), torch.zeros(2))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(scores.grad).all()


def test_chances_are_those_of_a_simulation():
    rng = np.random.default_rng(0)
    library, conjectures, random = 50, 4, 10
    shares = np.linspace(0, 0.5, library)
    met = np.zeros(library)
    for _ in range(20_000):
        listed = (rng.random((conjectures, library)) < shares).any(axis=0)
        drawn = np.zeros(library, bool)
        drawn[rng.choice(library, random, replace=False)] = True
        met += listed | drawn
    np.testing.assert_allclose(np.exp(log_chances(shares, conjectures, random, library)), met / 20_000, atol=0.015)
