from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import yaml

from neurips16.training.data.mnist.module import MnistData
from neurips16.training.system import PRESETS
from neurips16.training.systems.dgn_am.network import DGNAM

from ..conftest import MODELS
from .test_infogan import Steps


@pytest.fixture(scope="module")
def trained(mnist_folder):
    torch.manual_seed(0)
    network = DGNAM(
        [1, 12, 12],
        4,
        **{**MODELS["dgn_am"], "classifier_batches": 60},
        classifier_learning_rate=5e-3,
        learning_rate=3e-3,
    )
    Steps(network)
    data = MnistData(str(mnist_folder), batch_size=30)
    network.trainer = SimpleNamespace(datamodule=data)
    losses = []
    for number in range(100):
        losses.append(network.train_batch(data.draw(number), torch.Generator().manual_seed(number)))
        network.batches_done += 1
    return network.eval(), losses


def test_the_classifier_comes_first_and_is_left_alone_afterwards(trained):
    _, losses = trained
    assert set(losses[59]) == {"classifier_loss"}
    assert losses[59]["classifier_loss"] < 0.5 * losses[0]["classifier_loss"]
    assert set(losses[60]) == {"image_loss", "feature_loss", "adversarial_loss", "discriminator_loss"}
    assert losses[99]["image_loss"] < losses[60]["image_loss"]
    assert losses[99]["feature_loss"] < losses[60]["feature_loss"]


def test_codes_are_limited_by_what_real_images_have(trained, mnist_folder):
    network, _ = trained
    data = MnistData(str(mnist_folder), batch_size=120).draw(0)
    codes = network.classifier.encode(data.images / 255)
    torch.testing.assert_close(network.code_limit, codes.mean(0) + 3 * codes.std(0))
    logits = network.classifier(data.images / 255)
    for unit in range(4):
        own = logits[data.labels == unit, unit]
        torch.testing.assert_close(network.real_activation[unit], own.mean())
        torch.testing.assert_close(network.real_deviation[unit], own.std())


def test_an_ascent_climbs_and_stays_within_the_limits(trained):
    network, _ = trained
    start = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    ascent = network.ascend(start, torch.arange(4), steps=30)
    assert ascent.activations.shape == (4, 31)
    assert (ascent.activations[:, -1] > ascent.activations[:, 0]).all()
    assert ascent.images.shape == (4, 1, 12, 12)
    assert 0 <= ascent.images.min() <= ascent.images.max() <= 1


def test_a_step_is_the_published_one(trained):
    network, _ = trained
    codes = torch.full((1, 10), 0.1)
    gradient = torch.linspace(-1, 1, 10)[None]
    got = network.step(codes, gradient, torch.tensor([0.2]))
    want = codes + 0.2 * gradient / gradient.abs().mean()
    want = torch.minimum(want.clamp(min=0), network.code_limit) * 0.99
    torch.testing.assert_close(got, want)
    still = network.step(codes, torch.zeros(1, 10), torch.tensor([0.2]))
    torch.testing.assert_close(still, torch.minimum(codes, network.code_limit) * 0.99)


def test_the_alexnet_preset_has_the_papers_shapes():
    settings = yaml.safe_load((PRESETS / "dgn_am/paper.yaml").read_text())["model"]
    with torch.device("meta"):
        network = DGNAM([3, 256, 256], 1000, **settings)
        assert network.classifier.features(torch.empty(1, 3, 227, 227)).shape == (1, 256, 6, 6)
        images = network.generate(torch.empty(1, 4096))
        assert images.shape == (1, 3, 256, 256)
        assert network.encoder_crop(images).shape == (1, 3, 227, 227)
        assert network.classifier(network.encoder_crop(images)).shape == (1, 1000)
