"""The noise of a seed, held against the formula that the module states, and its statistics."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from neurips16.export.errors import EvaluationError
from neurips16.export.generation import (
    LARGEST_SEED,
    fold_normalisation,
    limit_rank,
    model_at,
    normal,
    range_parameters,
    seed_input,
    to_bytes,
    uniform,
    whole_number,
)
from neurips16.export.registry import Station


def mix(x: int) -> int:
    for _ in range(2):
        x = (x ^ (x >> 16)) * 0x45D9F3B % 2**32
    return x ^ (x >> 16)


@pytest.mark.parametrize("seed", [0, 1, 7, 12345, LARGEST_SEED])
def test_uniform_numbers_follow_the_stated_formula(seed):
    got = uniform(torch.tensor([[seed]]), 50)[0].numpy()
    want = [(mix((mix(seed) + i * 0x9E3779B9) % 2**32) >> 8) * 2.0**-24 for i in range(50)]
    np.testing.assert_array_equal(got, np.array(want, np.float32))


def test_noise_looks_random_within_a_seed_and_between_neighbouring_seeds():
    seeds = torch.arange(2000)[:, None]
    numbers = uniform(seeds, 64).numpy().astype(np.float64)
    assert abs(numbers.mean() - 0.5) < 0.003
    assert abs(numbers.std() - 12**-0.5) < 0.003
    correlations = np.corrcoef(numbers.T) - np.eye(64)
    assert abs(correlations).max() < 0.12  # five standard deviations at 2000 seeds
    neighbours = np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]
    assert abs(neighbours) < 0.015
    gaussian = normal(seeds, 32).numpy()
    assert np.isfinite(gaussian).all()
    assert abs(gaussian.mean()) < 0.02
    assert abs(gaussian.std() - 1) < 0.02
    assert abs((gaussian**4).mean() - 3) < 0.2


def test_pixels_are_rounded_clipped_and_turned():
    images = torch.tensor([[[[-2.0, -1.0], [0.0, 2.0]]]])
    assert to_bytes(images, low=-1.0)[0, :, :, 0].tolist() == [[0, 0], [128, 255]]
    assert to_bytes(images)[0, :, :, 0].tolist() == [[0, 0], [0, 255]]
    assert to_bytes(torch.zeros(2, 3, 4, 5)).shape == (2, 4, 5, 3)


def test_ranges_are_told_to_clients():
    assert range_parameters([seed_input()]) == {"seed_range": "0 2147483647"}


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(EvaluationError, match="has no baseline 'knn'"):
        model_at(Station(baseline="knn"), "infogan_encoder", lambda checkpoint, data: [])
    with pytest.raises(EvaluationError, match="expected a number over 0, got 'many'"):
        whole_number({"seeds": "many"}, "seeds", 4)


def test_folded_chains_compute_the_same_without_normalisation():
    from .generator_checkpoints import infogan

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
