from __future__ import annotations

import math

import pytest
import torch
import yaml

from neurips16.training.data.mnist.module import MnistData
from neurips16.training.system import PRESETS
from neurips16.training.systems.infogan.network import InfoGAN, agreement, random_affine

TINY = {"hidden": 16, "generator_channels": (8, 6), "discriminator_channels": (6, 8), "noise": 6}


def parameters(network) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_networks_have_the_published_numbers_of_weights():
    network = InfoGAN([1, 28, 28], fixed_deviation=False)  # the published code always has its two spare outputs
    assert parameters(network.generator) == 6_652_481
    assert parameters(network.discriminator.trunk) == 6_558_144
    assert parameters(network.discriminator.realness) == 1_025
    assert parameters(network.discriminator.recogniser) == 133_262


@pytest.mark.parametrize(
    ("preset", "shape"),
    [
        ("small", [1, 28, 28]),
        ("svhn", [3, 32, 32]),
        ("celeba", [3, 32, 32]),
        ("faces", [1, 32, 32]),
        ("chairs", [1, 64, 64]),
    ],
)
def test_every_preset_makes_and_reads_images_of_its_data(preset, shape):
    settings = yaml.safe_load((PRESETS / f"infogan/{preset}.yaml").read_text())["model"]
    network = InfoGAN(shape, **settings).eval()
    sample = network.codes.sample(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = network.generator(network.codes.join(sample))
        assert list(images.shape) == [2, *shape]
        assert images.min() >= network.black
        assert images.max() <= 1
        probabilities, means = network.read((images * 255).to(torch.uint8))
    assert [p.shape[1] for p in probabilities] == settings.get("categorical", [10])
    assert all(p.sum(1).allclose(torch.ones(2)) for p in probabilities)
    assert means.shape == (2, network.codes.continuous)


def test_the_bound_is_weighted_by_kind():
    network = InfoGAN([1, 12, 12], [3], 1, 1, **TINY, categorical_weight=2.0, uniform_weight=0.5, gaussian_weight=0.25)
    from neurips16.training.systems.infogan.latent_codes import Information

    information = Information(*(torch.tensor(value) for value in (1.0, 10.0, 100.0)))
    assert network.weighted(information).item() == pytest.approx(2 + 5 + 25)


class Steps:
    """A stand-in for Lightning's optimisers: plain ones, used as `AdversarialModule.turn` uses them."""

    def __init__(self, network):
        self.optimizers = network.configure_optimizers()
        network.optimizers = lambda: self.optimizers
        network.toggle_optimizer = network.untoggle_optimizer = lambda optimizer: None
        network.manual_backward = lambda loss: loss.backward()


def test_codes_become_readable_and_each_player_moves_its_own_weights(mnist_folder):
    torch.manual_seed(0)
    network = InfoGAN([1, 12, 12], [4], 1, 0, **TINY, discriminator_learning_rate=2e-3)
    Steps(network)
    data = MnistData(str(mnist_folder), batch_size=32)
    before = {name: value.clone() for name, value in network.named_parameters()}
    first = network.train_batch(data.draw(0), torch.Generator().manual_seed(0))
    assert all(not torch.equal(value, before[name]) for name, value in network.named_parameters() if "weight" in name)
    for number in range(1, 60):
        last = network.train_batch(data.draw(number), torch.Generator().manual_seed(number))
    assert first["categorical_information"] < 0.3
    assert last["categorical_information"] > 0.8  # of ln 4 = 1.39
    assert set(last) == {
        "discriminator_loss",
        "generator_loss",
        "categorical_information",
        "uniform_information",
        "gaussian_information",
    }


def test_agreement_is_the_information_of_one_reading_about_the_other():
    sure = torch.eye(4).repeat(5, 1)
    assert agreement(sure, sure).item() == pytest.approx(math.log(4), abs=1e-4)
    assert agreement(sure, torch.full((20, 4), 0.25)).item() == pytest.approx(0, abs=1e-4)  # nothing is told
    assert agreement(sure[:1].repeat(20, 1), sure[:1].repeat(20, 1)).item() == pytest.approx(0, abs=1e-4)  # one for all
    half = 0.5 * sure + 0.5 * sure.roll(1, 1)
    assert 0 < agreement(sure, half) < math.log(4)
    torch.testing.assert_close(agreement(sure, half), agreement(half, sure))


def test_moved_images_stay_in_their_range_and_near_where_they_were():
    images = torch.full((8, 1, 28, 28), -1.0)
    images[:, :, 10:18, 10:18] = 1.0
    found = random_affine(images, torch.Generator().manual_seed(0), black=-1.0)
    assert found.shape == images.shape
    assert found.min() >= -1
    assert found.max() <= 1.0001
    assert (found[:, :, 0] == -1).all()  # what comes in at an edge is black
    assert all(not torch.equal(a, b) for a, b in zip(found, images, strict=True))
    assert (found[:, :, 12:16, 12:16] > 0).float().mean() > 0.9


def test_agreement_is_descended_with_the_discriminator(mnist_folder):
    torch.manual_seed(0)
    network = InfoGAN([1, 12, 12], [4], 1, 0, **TINY, discriminator_learning_rate=2e-3, agreement_weight=3.0)
    Steps(network)
    data = MnistData(str(mnist_folder), batch_size=32)
    found = [
        float(network.train_batch(data.draw(number), torch.Generator().manual_seed(number))["agreement"].detach())
        for number in range(60)
    ]
    assert sum(found[-10:]) > 2 * sum(found[:10])


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="output is one of sigmoid, tanh"):
        InfoGAN([1, 28, 28], output="relu")
    with pytest.raises(ValueError, match="cannot make images of 30 by 30"):
        InfoGAN([1, 30, 30])
