from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neurips16.training.data.esc50.augmentation import Augmentation
from neurips16.training.data.esc50.module import Esc50Data
from neurips16.training.errors import DataError


def _data(folder, *, epoch=0, step=0, **settings) -> Esc50Data:
    data = Esc50Data(str(folder), **settings)
    data.trainer = SimpleNamespace(
        lightning_module=None, accumulate_grad_batches=1, current_epoch=epoch, global_step=step
    )
    return data


def test_a_held_out_fold_is_never_trained_on(sound_folder):
    data = _data(sound_folder, held_out_fold=2, batch_size=5)
    assert {clip.fold for clip in data.train_clips} == {1, 3}
    batches = list(data.train_dataloader())
    assert [len(batch.waveform) for batch in batches] == [5, 5, 2]
    assert torch.cat([batch.soft_labels for batch in batches]).sum(0).tolist() == [4, 4, 4]
    seen = {row.numpy().tobytes() for batch in batches for row in batch.waveform}
    held_out = {row.numpy().tobytes() for batch in data.val_dataloader() for row in batch.waveform}
    assert len(held_out) == 6
    assert not seen & held_out
    assert _data(sound_folder).val_dataloader() == []
    with pytest.raises(DataError, match=r"no fold 7; its folds are \[1, 2, 3\]"):
        _data(sound_folder, held_out_fold=7).sounds  # noqa: B018


def test_every_class_comes_as_often(sound_folder):
    data = _data(sound_folder, epoch_size=30)
    order = data.order(0)
    labels = [data.train_clips[i].label for i in order]
    assert len(order) == 30
    assert np.bincount(labels).tolist() == [10, 10, 10]
    assert all(len(set(labels[i : i + 3])) == 3 for i in range(0, 30, 3))
    assert data.order(0).tolist() == order.tolist() != data.order(1).tolist()


def test_a_resumed_epoch_goes_on_where_it_was(sound_folder):
    settings = {
        "batch_size": 4,
        "epoch_size": 12,
        "augmentation": Augmentation(crop_s=0.5, speed=1.2, gain_db=3, mix=0.5),
    }
    whole = list(_data(sound_folder, epoch=3, step=9, **settings).train_dataloader())
    rest = list(_data(sound_folder, epoch=3, step=11, **settings).train_dataloader())
    assert (len(whole), len(rest)) == (3, 1)
    assert torch.equal(whole[2].waveform, rest[0].waveform)
    assert torch.equal(whole[2].soft_labels, rest[0].soft_labels)


def test_mixtures_are_of_two_classes_and_their_shares_say_how_much(sound_folder):
    data = _data(sound_folder, batch_size=64, epoch_size=64, augmentation=Augmentation(crop_s=0.5, mix=0.75))
    (batch,) = list(data.train_dataloader())
    assert batch.waveform.shape == (64, 11_025)
    torch.testing.assert_close(batch.soft_labels.sum(1), torch.ones(64))
    parts = (batch.soft_labels > 0).sum(1)
    assert set(parts.tolist()) == {1, 2}
    assert 35 <= int((parts == 2).sum()) <= 60
