"""Where in an epoch a run is, so that a resumed one goes on with the next batch."""

from __future__ import annotations

import lightning


def batches_left(trainer: lightning.Trainer | None, length: int) -> range:
    """The numbers, in the current epoch of ``length`` batches, of those that are still to be trained on.

    A module that steps its optimisers itself counts its batches as ``batches_done``; for any other, Lightning's count
    of optimiser steps says how many there were.
    """
    assert trainer is not None  # whoever asks is asked for batches by a trainer
    counted = getattr(trainer.lightning_module, "batches_done", None)
    done = trainer.global_step * trainer.accumulate_grad_batches if counted is None else int(counted)
    return range(max(0, done - trainer.current_epoch * length), length)
