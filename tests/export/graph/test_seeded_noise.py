"""The noise of a seed, held against the formula that the module states, and its statistics; and images as bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurips16.export.graph.pixels import to_bytes
from neurips16.export.graph.seeded_noise import MAX_SEED, normal, seed_input, uniform
from neurips16.export.registry import range_parameters


def mix(x: int) -> int:
    for _ in range(2):
        x = (x ^ (x >> 16)) * 0x45D9F3B % 2**32
    return x ^ (x >> 16)


@pytest.mark.parametrize("seed", [0, 1, 7, 12345, MAX_SEED])
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
