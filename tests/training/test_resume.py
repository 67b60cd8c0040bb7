from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from neurips16.training.resume import batches_left


def trainer(epoch: int, step: int, *, accumulate: int = 1, counted: int | None = None) -> SimpleNamespace:
    module = SimpleNamespace() if counted is None else SimpleNamespace(batches_done=torch.tensor(counted))
    return SimpleNamespace(
        current_epoch=epoch, global_step=step, accumulate_grad_batches=accumulate, lightning_module=module
    )


@pytest.mark.parametrize(
    ("run", "left"),
    [
        (trainer(0, 0), range(10)),
        (trainer(2, 23), range(3, 10)),
        (trainer(2, 20), range(10)),
        (trainer(1, 8, accumulate=2), range(6, 10)),
        (trainer(1, 45, counted=14), range(4, 10)),  # three optimiser steps a batch
        (trainer(3, 7), range(10)),
    ],
)
def test_a_resumed_run_goes_on_with_the_next_batch(run, left) -> None:
    assert batches_left(run, 10) == left
