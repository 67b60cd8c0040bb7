"""Codes, keys, counts and the bonus; features and the autoencoder with its loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurips16.training.errors import InvalidModelError
from neurips16.training.systems.simhash.counting import ExactCounts, TableCounts, bonus
from neurips16.training.systems.simhash.features import HashAutoencoder, bass
from neurips16.training.systems.simhash.hashing import PAPER_PRIMES, SMALL_PRIMES, SimHash, keys, projections


def test_projections_are_standard_normal_and_do_not_depend_on_the_size():
    drawn = projections(400, 64)
    assert drawn.mean() == pytest.approx(0, abs=0.02)
    assert drawn.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(drawn[:, :8].T) - np.eye(8)).max() < 0.2
    assert (abs(drawn) > 2).mean() == pytest.approx(0.0455, abs=0.008)
    np.testing.assert_array_equal(projections(10, 16), drawn[:10, :16])
    assert (projections(10, 16, seed=1) != drawn[:10, :16]).any()


def test_bits_agree_as_often_as_the_angle_says():
    rng = np.random.default_rng(0)
    code = SimHash(20, 512)
    first, other = rng.normal(size=(2, 20)).astype(np.float32)
    a, b = code(np.stack([first, other]))
    angle = np.arccos(first @ other / np.linalg.norm(first) / np.linalg.norm(other))
    assert (a != b).mean() == pytest.approx(angle / np.pi, abs=0.08)
    assert code(np.zeros((1, 20))).all()  # 0 counts as positive
    np.testing.assert_array_equal(code(3 * first[None])[0], a)


def test_keys_are_the_code_as_a_number_modulo_each_prime():
    bits = np.random.default_rng(1).integers(0, 2, (50, 256)).astype(np.uint8)
    for row, found in zip(bits, keys(bits), strict=True):
        number = sum(int(bit) << i for i, bit in enumerate(row))
        assert found.tolist() == [number % prime for prime in PAPER_PRIMES]


@pytest.mark.parametrize("primes", [PAPER_PRIMES, SMALL_PRIMES])
def test_sizes_are_primes(primes):
    assert len(set(primes)) == 6
    for prime in primes:
        assert all(prime % k for k in range(2, int(prime**0.5) + 1))


def test_tables_count_as_the_dictionary_does():
    rng = np.random.default_rng(2)
    code, exact, tables = SimHash(6, 24), ExactCounts(), TableCounts()
    for _ in range(20):
        bits = code(rng.normal(size=(500, 6)))
        exact.add(bits)
        tables.add(bits)
        np.testing.assert_array_equal(tables.read(bits), exact.read(bits))
    assert len(exact) > 2000
    unseen = code(rng.normal(size=(50, 6)) * [1, 1, 1, 1, 1, -30])
    assert (tables.read(unseen) >= exact.read(unseen)).all()


def test_a_count_in_tables_is_never_too_small():
    tables, exact = TableCounts((2, 3)), ExactCounts()
    bits = np.random.default_rng(0).integers(0, 2, (40, 5)).astype(np.uint8)
    tables.add(bits)
    exact.add(bits)
    assert (tables.read(bits) >= exact.read(bits)).all()
    assert (tables.read(bits) > exact.read(bits)).any()


@pytest.mark.parametrize("make", [ExactCounts, TableCounts])
def test_counts_go_on_after_a_checkpoint(make):
    bits = np.random.default_rng(0).integers(0, 2, (30, 4)).astype(np.uint8)
    first, second = make(), make()
    first.add(bits)
    second.load_state_dict(first.state_dict())
    second.add(bits)
    np.testing.assert_array_equal(second.read(bits), 2 * first.read(bits))


def test_the_bonus():
    assert bonus(np.array([1, 4, 100, 0]), 0.2).tolist() == pytest.approx([0.2, 0.1, 0.02, 0.2])


def test_bass_counts_levels_of_cells():
    screen = np.zeros((1, 210, 160, 3), np.uint8)
    screen[0, 20:40, 40:60, 1] = 255
    screen[0, 0:20, 0:20, 2] = 128
    features = bass(screen).reshape(10, 8, 3)
    assert features[1, 2, 1] == 20
    assert features[0, 0, 2] == 20 * 128 // 255
    assert features.sum() == 20 + 10


def test_the_autoencoder_has_the_stated_shapes_and_its_loss_falls():
    torch.manual_seed(0)
    paper = HashAutoencoder()
    assert paper.encode(torch.zeros(2, 1, 52, 52)).shape == (2, 512)
    assert paper.decoder(torch.zeros(2, 512)).shape == (2, 64, 52, 52)
    assert paper.encoder[7].in_features == 2400
    small = HashAutoencoder(code=16, channels=8)
    screens = torch.zeros(8, 1, 52, 52)
    screens[::2, :, 10:20] = 0.8
    optimiser = torch.optim.Adam(small.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = small.loss(screens)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(52 * 52 * np.log(64), rel=0.05)
    assert losses[-1] < 0.5 * losses[0]


def test_the_pressure_is_that_of_the_ends():
    net = HashAutoencoder(code=4, channels=2, noise=0.0, pressure=0.0)
    screens = torch.rand(3, 1, 52, 52)
    plain = net.loss(screens)
    net.pressure = 10.0
    code = net.encode(screens)
    ends = torch.minimum((1 - code) ** 2, code**2).sum(1) * 10 / 4
    assert (net.loss(screens) - plain).item() == pytest.approx(ends.mean().item(), rel=1e-2)


def test_what_cannot_be_hashed_is_refused():
    with pytest.raises(InvalidModelError, match=r"expected states \[N, 3\]"):
        SimHash(3, 8)(np.zeros((2, 4)))
    with pytest.raises(InvalidModelError, match="1 … 512 bits"):
        SimHash(3, 513)


def test_the_wrapper_adds_bonuses_and_keeps_rewards_apart():
    gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    from stable_baselines3.common.vec_env import DummyVecEnv

    from neurips16.training.systems.simhash.bonus import CountBonus

    env = CountBonus(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]), SimHash(4, 8), ExactCounts(), 0.5)
    env.reset()
    _, rewards, _, infos = env.step(np.array([0]))
    assert (rewards[0], infos[0]["extrinsic"]) == (1.5, 1.0)
    for _ in range(30):
        _, rewards, _, _ = env.step(np.array([1]))
    assert 1.0 < rewards[0] <= 1.5
    assert env.extrinsic == 31.0
    assert 0 < env.intrinsic < 15.5
