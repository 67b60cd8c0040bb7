from __future__ import annotations

import pytest
import torch

from neurips16.training.optimisation import scheduled


def rates(steps: int, **settings) -> list[float]:
    """The learning rate, 1 at its highest, of each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = scheduled(optimizer, **settings)["lr_scheduler"]["scheduler"]
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_it_stays_where_nothing_is_asked_for() -> None:
    assert rates(3) == [1, 1, 1]


def test_it_rises_and_falls_along_half_a_cosine() -> None:
    found = rates(101, warmup_steps=4, decay_steps=100)
    assert found[0] == pytest.approx(0.25)
    assert found[1] == pytest.approx(0.5, rel=1e-3)
    assert found[50] == pytest.approx(0.5)
    assert found[100] == pytest.approx(0, abs=1e-9)


def test_it_falls_at_milestones() -> None:
    assert rates(5, milestones=[2, 4]) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
