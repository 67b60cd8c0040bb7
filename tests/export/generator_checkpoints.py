"""Checkpoints of tiny generators, as `neurips16 train` would have left them."""

from __future__ import annotations

from pathlib import Path

import torch

from neurips16.training.systems.dgn_am.network import DGNAM
from neurips16.training.systems.disentangle import Disentangle
from neurips16.training.systems.infogan.network import InfoGAN

SHAPE = [1, 12, 12]


def infogan(**changes) -> InfoGAN:
    settings = {
        "categorical": [4],
        "uniform": 2,
        "noise": 6,
        "hidden": 32,
        "generator_channels": [8, 6],
        "discriminator_channels": [6, 8],
    }
    torch.manual_seed(0)
    network = InfoGAN(SHAPE, **{**settings, **changes})
    _spread(network)
    return network


def disentangle() -> Disentangle:
    torch.manual_seed(0)
    network = Disentangle(SHAPE, 4, features=4, specified=5, unspecified=3)
    _spread(network)
    return network


def dgn_am(**changes) -> DGNAM:
    settings = {
        "convolutions": [[4, 3, 2, 1, 0], [6, 3, 1, 1, 3]],
        "widths": [10, 8],
        "encoder_side": 11,
        "generator_widths": [12],
        "generator_first": [6, 4],
        "generator_stages": [[5, 4], [1, 0]],
        "discriminator_channels": [4],
        "discriminator_hidden": 6,
    }
    torch.manual_seed(1)
    network = DGNAM(SHAPE, 4, **{**settings, **changes})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)  # so that the activation changes along the way
        network.code_limit.copy_(torch.rand(10) * 2 + 0.5)
        network.real_activation.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        network.real_deviation.fill_(0.1)
    return network.eval()


def save(network, folder: Path) -> Path:
    path = folder / f"{network.system}.ckpt"
    about = {"system": network.system, "epoch": 0, "step": 0, "metrics": {}}
    content = {"neurips16": about, "hyper_parameters": dict(network.hparams), "state_dict": network.state_dict()}
    torch.save(content, path)
    return path


def _spread(network) -> None:
    """Give random weights and statistics of normalisation, so that an exported mistake shows."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
            elif getattr(module, "weight", None) is not None:
                module.weight.normal_(0, 0.15)
