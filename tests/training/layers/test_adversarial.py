"""What the systems with two players share, and that each of them trains, stops and goes on."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from torch import nn

from neurips16.training.layers.adversarial import as_pixels, statistics_kept
from neurips16.training.run import run_training
from neurips16.training.system import load_module, read_checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]
LOSSES = {
    "infogan": "train_generator_loss",
    "disentangle": "train_swap",
    "dgn_am": "train_feature_loss",
}


@pytest.mark.slow
@pytest.mark.parametrize("system", LOSSES)
def test_a_stopped_run_ends_exactly_as_an_undisturbed_one(system, mnist_folder, tmp_path, tiny_presets, monkeypatch):
    monkeypatch.setattr("neurips16.training.run.BATCHES_PER_CHECKPOINT", 1)
    one, two = tmp_path / "whole", tmp_path / "stopped"
    run_training(system, "tiny", mnist_folder, one)
    steps = read_checkpoint(one / "epoch001.ckpt")["neurips16"]["step"]
    # In the middle of the second epoch; dgn_am is past its classifier by then.
    run_training(system, "tiny", mnist_folder, two, [f"--trainer.max_steps={steps - 4}"])
    stopped = int(load_module(two / "last.ckpt", system).batches_done)
    assert 4 < stopped < 8
    run_training(system, "tiny", mnist_folder, two)
    a, b = (load_module(run / "epoch001.ckpt", system).state_dict() for run in (one, two))
    assert int(a["batches_done"]) == 8
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    # A run that is killed between an epoch's last batch and the next one goes on there as well.
    three = tmp_path / "ended"
    run_training(system, "tiny", mnist_folder, three, ["--trainer.max_epochs=1"])
    run_training(system, "tiny", mnist_folder, three)
    assert int(load_module(three / "epoch001.ckpt", system).batches_done) == 8
    with (one / "metrics/version_0/metrics.csv").open() as file:
        rows = [row[LOSSES[system]] for row in csv.DictReader(file) if row.get(LOSSES[system])]
    assert rows
    assert all(math.isfinite(float(value)) for value in rows)


def test_kept_statistics_are_used_and_not_remembered():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(3))
    values = torch.randn(50, 3) * 5 + 2
    with statistics_kept(network):
        normed = network(values)
    assert normed.mean().abs() < 1e-5  # by the batch's own statistics
    assert network[0].running_mean.tolist() == [0, 0, 0]
    assert network[0].momentum == 0.1
    network(values)
    assert network[0].running_mean.abs().min() > 0


def test_bytes_become_pixels_in_either_range():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(as_pixels(images), torch.tensor([0, 0.2, 1]))
    torch.testing.assert_close(as_pixels(images, low=-1.0), torch.tensor([-1, -0.6, 1]))
