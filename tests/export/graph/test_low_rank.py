from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from neurips16.export.graph.low_rank import fold_normalisation, limit_rank


def test_folded_chains_compute_the_same_without_normalisation():
    from ..generator_checkpoints import infogan

    network = infogan().eval()
    codes, images = torch.randn(3, network.codes.size), torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        before = network.generator(codes), network.discriminator.trunk(images)
        for chain in (network.generator, network.discriminator.trunk):
            fold_normalisation(chain)
            assert not [m for m in chain if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        after = network.generator(codes), network.discriminator.trunk(images)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_layer_of_limited_rank_computes_the_same_where_its_outputs_vary_in_so_many_directions():
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Linear(5, 30), nn.ReLU(), nn.Linear(30, 40), nn.ReLU()).eval()
    directions = torch.randn(4, 5)
    inputs = torch.relu(torch.randn(200, 4)) @ directions
    full = chain(inputs).detach()
    errors = []
    for rank in (1, 15, 30):
        limited = copy.deepcopy(chain)
        limit_rank(limited, inputs, rank)
        assert [layer.out_features for layer in limited[2]] == [rank, 40]
        errors.append(float((limited(inputs).detach() - full).abs().max()))
    assert errors[0] > 10 * errors[1] > 10 * errors[2]
    assert errors[2] < 1e-4


def test_an_impossible_rank_is_refused():
    chain = nn.Sequential(nn.Linear(5, 30), nn.ReLU())
    with pytest.raises(ValueError, match="a rank of 6 is not possible for a layer from 5 to 30 values"):
        limit_rank(chain, torch.zeros(100, 5), 6)
