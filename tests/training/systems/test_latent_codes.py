from __future__ import annotations

import math

import pytest
import torch

from neurips16.training.systems.infogan.latent_codes import LatentCodes


@pytest.fixture
def codes():
    return LatentCodes([3, 4], uniform=2, gaussian=1, noise=5, fixed_deviation=False)


def draw(codes: LatentCodes, count: int = 4000):
    return codes.sample(count, torch.Generator().manual_seed(0))


def test_samples_follow_their_priors(codes):
    sample = draw(codes)
    assert sample.noise.shape == (4000, 5)
    assert sample.noise.abs().max() <= 1
    assert [column.bincount().shape[0] for column in sample.categories.T] == [3, 4]
    assert sample.continuous[:, :2].abs().max() <= 1
    assert abs(sample.continuous[:, :2].std().item() - 3**-0.5) < 0.02
    assert abs(sample.continuous[:, 2].std().item() - 1) < 0.05
    again = draw(codes)
    assert all(torch.equal(a, b) for a, b in zip(sample, again, strict=True))


def test_the_joined_vector_is_noise_then_one_hot_then_continuous(codes):
    sample = draw(codes, 2)
    joined = codes.join(sample)
    assert joined.shape == (2, codes.size) == (2, 5 + 7 + 3)
    torch.testing.assert_close(joined[:, :5], sample.noise)
    assert joined[:, 5:8].argmax(1).tolist() == sample.categories[:, 0].tolist()
    assert joined[:, 8:12].argmax(1).tolist() == sample.categories[:, 1].tolist()
    assert joined[:, 5:12].sum(1).tolist() == [2.0, 2.0]
    torch.testing.assert_close(joined[:, 12:], sample.continuous)


def test_a_recogniser_that_knows_nothing_has_no_categorical_information(codes):
    sample = draw(codes)
    information = codes.information(torch.zeros(4000, codes.read_size), sample)
    assert information.categorical.item() == pytest.approx(0, abs=1e-5)
    assert information.gaussian.item() == pytest.approx(0, abs=0.05)
    assert information.uniform.item() < 0  # a standard normal describes a uniform code worse than its prior


def test_a_recogniser_that_knows_all_reaches_the_entropy(codes):
    sample = draw(codes)
    one_hot = codes.join(sample)[:, 5:12]
    deviation = 1e-2
    log_variances = torch.full((4000, 3), 2 * math.log(deviation))
    information = codes.information(torch.cat([one_hot * 50, sample.continuous, log_variances], 1), sample)
    assert information.categorical.item() == pytest.approx(math.log(3) + math.log(4), abs=1e-4)
    gain = -0.5 * math.log(2 * math.pi) - math.log(deviation)
    assert information.uniform.item() == pytest.approx(2 * (math.log(2) + gain), abs=1e-4)
    assert information.gaussian.item() == pytest.approx(0.5 * math.log(2 * math.pi * math.e) + gain, abs=1e-4)


def test_fixed_deviations_need_no_numbers_of_their_own():
    codes = LatentCodes([10], uniform=2, gaussian=0, noise=62)
    assert codes.size == 74  # the published generator's input
    assert codes.read_size == 12
    _, means, log_variances = codes.split(torch.ones(3, 12))
    assert means.shape == log_variances.shape == (3, 2)
    assert not log_variances.any()


def test_codes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least 2 categories"):
        LatentCodes([1], 0, 0, 3)
    with pytest.raises(ValueError, match="-1 Gaussian"):
        LatentCodes([2], 0, -1, 3)
