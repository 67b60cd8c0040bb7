from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from neurips16.training.layers.soundnet_layers import (
    AMPLITUDE,
    HEADS,
    SAMPLE_RATE_HZ,
    TRUNKS,
    SoundNetTrunk,
    initialise,
    repeated,
)


def test_the_eight_layers_have_the_published_lengths():
    """The lengths for 20 s that the specification gives for each layer, pools included."""
    samples, lengths = 20 * SAMPLE_RATE_HZ, []
    for layer in TRUNKS[8]:
        convolved = (samples + 2 * layer.pad - layer.kernel) // layer.stride + 1
        samples = layer.length(samples)
        lengths.append((convolved, samples))
    pooled = {0: 27562, 1: 1722, 4: 54}
    want = [220501, 13782, 862, 432, 217, 28, 15]
    assert [conv for conv, _ in lengths] == want
    assert [after for _, after in lengths] == [pooled.get(i, length) for i, length in enumerate(want)]
    assert HEADS[8].length(samples) == 4


@pytest.mark.parametrize(("depth", "seconds", "steps"), [(8, 5, 0), (8, 10, 1), (8, 20, 4), (5, 20, 4)])
def test_steps_of_the_heads(depth, seconds, steps):
    trunk = SoundNetTrunk(depth)
    assert max(0, HEADS[depth].length(trunk.length(seconds * SAMPLE_RATE_HZ))) == steps


@pytest.mark.parametrize(("depth", "width"), [(8, 0.25), (5, 0.125)])
def test_what_is_computed_is_as_long_as_what_is_promised(depth, width):
    trunk = SoundNetTrunk(depth, width)
    for samples in (22_050, 40_001):
        assert trunk(torch.zeros(2, samples)).shape == (2, trunk.channels, trunk.length(samples))
    channels = [max(1, round(layer.channels * width)) for layer in TRUNKS[depth]]
    assert [block.conv.out_channels for block in trunk.blocks] == channels


def test_named_features_are_what_the_layers_give_one_by_one():
    torch.manual_seed(0)
    trunk = SoundNetTrunk(8, 0.125)
    initialise(trunk, "he")
    trunk.eval()
    waveform = 0.1 * torch.randn(1, 60_000)
    found = trunk.features(waveform)
    names = [f"{kind}{i}" for i in range(1, 8) for kind in ("conv", "relu", *(("pool",) if i in (1, 2, 5) else ()))]
    assert list(found) == names
    values = waveform[:, None] * AMPLITUDE
    for i, block in enumerate(trunk.blocks, start=1):
        values = block.conv(values)
        torch.testing.assert_close(found[f"conv{i}"], values)
        values = torch.relu(block.norm(values))
        if f"pool{i}" in found:
            values = nn.functional.max_pool1d(values, TRUNKS[8][i - 1].pool)
    torch.testing.assert_close(found["relu7"], values)
    torch.testing.assert_close(trunk(waveform), values)
    shortened = SoundNetTrunk(8, 0.125, layers=5).eval()
    shortened.load_state_dict({k: v for k, v in trunk.state_dict().items() if int(k.split(".")[1]) < 5})
    torch.testing.assert_close(shortened(waveform), found["pool5"])


def test_steps_lie_as_far_apart_as_is_said():
    trunk = SoundNetTrunk(8, 0.125, layers=5)
    assert trunk.samples_per_step == 8192
    assert trunk.length(50 * 8192) - trunk.length(40 * 8192) == 10
    assert SoundNetTrunk(5, 0.125).samples_per_step == 8192


def test_published_initialisation():
    torch.manual_seed(0)
    trunk = SoundNetTrunk(8)
    initialise(trunk, "paper")
    kernel, gain = trunk.blocks[4].conv.weight, trunk.blocks[6].norm.weight
    assert kernel.std().item() == pytest.approx(0.01, rel=0.05)
    assert gain.std().item() == pytest.approx(0.02, rel=0.1)
    assert gain.mean().item() == pytest.approx(1, abs=0.01)
    initialise(trunk, "he")
    assert kernel.std().item() == pytest.approx(math.sqrt(2 / (128 * 4)), rel=0.05)
    with pytest.raises(ValueError, match="'paper' or 'he'"):
        initialise(trunk, "zero")


def test_settings_that_no_network_has():
    with pytest.raises(ValueError, match="depth is one of 8, 5, got 6"):
        SoundNetTrunk(6)
    with pytest.raises(ValueError, match="1 to 7 for depth 8, got 8"):
        SoundNetTrunk(8, layers=8)


@pytest.mark.parametrize(("samples", "want"), [(3, 10), (10, 10), (11, 11)])
def test_short_sounds_are_repeated(samples, want):
    sound = torch.arange(2 * samples, dtype=torch.float32).reshape(2, samples)
    got = repeated(sound, 10)
    assert got.shape == (2, want)
    assert torch.equal(got, sound[:, torch.arange(want) % samples])
