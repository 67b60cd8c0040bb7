from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurips16.training.data.sound_pairs.module import PairBatch, SoundPairsData
from neurips16.training.layers.soundnet_layers import SAMPLE_RATE_HZ, TRUNKS
from neurips16.training.run import run_training
from neurips16.training.system import PRESETS
from neurips16.training.systems.soundnet.network import SoundNet


def test_the_published_network_has_the_published_number_of_weights():
    """14,352,713 by the table; and, weight for weight, kernels, biases, gains and offsets."""
    network = SoundNet()
    total = 0
    channels = 1
    for layer in TRUNKS[8]:
        total += channels * layer.channels * layer.kernel + 3 * layer.channels
        channels = layer.channels
    total += (1000 + 401) * (1024 * 8 + 1)
    assert sum(p.numel() for p in network.parameters()) == total == 14_352_713


def test_both_heads_speak_at_every_step():
    network = SoundNet(width=1 / 16, objects=6, scenes=4).eval()
    objects, scenes = network(0.1 * torch.randn(2, 20 * SAMPLE_RATE_HZ))
    assert (objects.shape, scenes.shape) == ((2, 6, 4), (2, 4, 4))
    with pytest.raises(ValueError, match="110250 samples are too short"):
        network(torch.zeros(1, 5 * SAMPLE_RATE_HZ))
    found = network.probabilities(0.1 * torch.randn(1, 5 * SAMPLE_RATE_HZ))
    assert [list(p.shape) for p in found] == [[1, 6, 1], [1, 4, 1]]
    torch.testing.assert_close(found[0].sum(1), torch.ones(1, 1))


def test_the_loss_is_the_scripts():
    """Lambda times the mean over 2 teachers and their steps of sum p log(p/q) / (batch times classes)."""
    torch.manual_seed(0)
    network = SoundNet(width=1 / 16, objects=5, scenes=3, loss_scale=250.0).eval()
    waveform = 0.1 * torch.randn(2, 20 * SAMPLE_RATE_HZ)
    targets = [torch.rand(2, classes, 4).softmax(1) for classes in (5, 3)]
    targets[0][0, :, 0] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])  # a certain teacher: 0 log 0 is 0
    got = network.loss(PairBatch(waveform, *targets))
    terms = []
    for logits, target in zip(network(waveform), targets, strict=True):
        q = logits.softmax(1)
        for step in range(4):
            divergence = 0.0
            for n in range(2):
                for c in range(target.shape[1]):
                    p = target[n, c, step].item()
                    divergence += p * math.log(p / q[n, c, step].item()) if p > 0 else 0.0
            terms.append(divergence / (2 * target.shape[1]))
    assert got.item() == pytest.approx(250 * np.mean(terms), rel=1e-4)


def test_a_student_that_gives_other_steps_than_the_teacher_says_so():
    network = SoundNet(width=1 / 16, objects=5, scenes=3)
    batch = PairBatch(torch.randn(1, 10 * SAMPLE_RATE_HZ), torch.ones(1, 5, 4) / 5, torch.ones(1, 3, 4) / 3)
    with pytest.raises(ValueError, match="one segment of the teacher belongs to each output"):
        network.loss(batch)


@pytest.mark.slow
def test_a_student_learns_what_its_teachers_say(sound_pairs):
    """Tones of two pitches, with a teacher that tells them apart: the divergence falls, and the student agrees."""
    torch.manual_seed(0)
    data = SoundPairsData(str(sound_pairs), batch_size=8, validation_every=0)
    network = SoundNet(depth=5, width=1 / 8, objects=data.objects, scenes=data.scenes, initialisation="he")
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    (batch,) = list(data.train_dataloader())
    losses = []
    for _ in range(25):
        loss = network.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    logits = network.eval()(batch.waveform)[0]
    assert (logits.argmax(1) == batch.objects.argmax(1)).float().mean() > 0.9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:lightning")
@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.parametrize("preset", sorted((PRESETS / "soundnet").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_is_accepted(sound_pairs, tmp_path, preset):
    small = ["--model.width=0.0625", "--data.batch_size=2", "--data.validation_every=4", "--trainer.accelerator=cpu"]
    once = ["--trainer.fast_dev_run=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    run_training("soundnet", preset.stem, sound_pairs, tmp_path, [*small, *once])
