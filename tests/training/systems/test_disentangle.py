from __future__ import annotations

import pytest
import torch
import yaml

from neurips16.training.data.mnist.triples import TripleData
from neurips16.training.system import PRESETS
from neurips16.training.systems.disentangle import Disentangle

from .test_infogan import Steps


@pytest.mark.parametrize("shape", [[1, 28, 28], [3, 32, 32], [1, 12, 20]])
def test_images_of_any_size_come_back_in_their_size(shape):
    network = Disentangle(shape, 10, features=4).eval()
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    parts = network.encode(images)
    assert parts.specified.shape == parts.mean.shape == parts.log_variance.shape == (2, 16)
    made = network.decoder(parts.specified, parts.mean)
    assert list(made.shape) == [2, *shape]
    assert made.abs().max() <= 1
    assert network.discriminator(made, torch.tensor([3, 9])).shape == (2,)


def test_the_discriminator_judges_an_image_by_the_class_that_it_is_told():
    torch.manual_seed(0)
    network = Disentangle([1, 12, 12], 4, features=4).eval()
    image = torch.rand(1, 1, 12, 12).expand(4, -1, -1, -1)
    assert len(network.discriminator(image, torch.arange(4)).unique()) == 4


@pytest.mark.parametrize("preset", ["paper", "small", "sprites", "norb", "yale"])
def test_every_preset_can_be_built(preset):
    settings = yaml.safe_load((PRESETS / f"disentangle/{preset}.yaml").read_text()).get("model", {})
    Disentangle([1, 32, 32], 10, **settings)


def test_it_learns_to_swap(mnist_folder):
    torch.manual_seed(0)
    network = Disentangle([1, 12, 12], 4, features=4, learning_rate=3e-3, discriminator_learning_rate=3e-3)
    Steps(network)
    data = TripleData(str(mnist_folder), batch_size=16)
    losses = [network.train_batch(data.draw(n), torch.Generator().manual_seed(n)) for n in range(60)]
    assert losses[-1]["swap"] < 0.5 * losses[0]["swap"]
    assert losses[-1]["reconstruction"] < 0.5 * losses[0]["reconstruction"]


def test_the_unspecified_part_can_be_kept_from_a_reader(mnist_folder):
    told = []
    for weight in (1e-9, 3.0):
        torch.manual_seed(0)
        network = Disentangle([1, 12, 12], 4, features=4, learning_rate=3e-3, reader_weight=weight)
        Steps(network)
        data = TripleData(str(mnist_folder), batch_size=16)
        losses = [network.train_batch(data.draw(n), torch.Generator().manual_seed(n)) for n in range(60)]
        told.append(torch.stack([loss["reader_loss"].detach() for loss in losses[-10:]]).mean())
    assert told[1] > 2 * told[0]
