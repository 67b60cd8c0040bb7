"""Served codes and counts against the library, over many states and several requests of a sequence."""

from __future__ import annotations

import numpy as np
import pytest

from neurips16.export.run_export import run_export
from neurips16.export.session import make_session
from neurips16.training.systems.simhash.counting import ExactCounts, TableCounts
from neurips16.training.systems.simhash.hashing import SMALL_PRIMES, SimHash, keys

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    published = run_export("simhash", None, tmp_path_factory.mktemp("simhash") / "models")
    return {folder.parent.name: make_session(folder / "model.onnx") for folder in published}


def test_codes_and_keys_are_the_librarys(sessions):
    rng = np.random.default_rng(0)
    for size, bits in ((2, 64), (300, 17), (1024, 1)):
        states = rng.normal(size=(200, size)).astype(np.float32)
        want = SimHash(size, 64)(states)
        want[:, bits:] = 0
        code, found = sessions["simhash"].run(None, {"states": states, "bits": np.full((200, 1), bits)})
        np.testing.assert_array_equal(code, want)
        np.testing.assert_array_equal(found, keys(want))
        assert 0.3 < code[:, :bits].mean() < 0.7


def test_counts_of_a_sequence_are_the_dictionarys(sessions):
    rng = np.random.default_rng(1)
    exact, tables = ExactCounts(), TableCounts(SMALL_PRIMES)
    hashed = SimHash(4, 16)
    state = np.zeros((1, 6, max(SMALL_PRIMES)), np.int32)
    for _ in range(10):
        states = rng.normal(size=(1, 2000, 4)).astype(np.float32)
        bits = np.pad(hashed(states[0]), ((0, 0), (0, 48)))
        exact.add(bits)
        tables.add(bits)
        inputs = {"states": states, "bits": np.array([[16]]), "update": np.array([[1]]), "tables": state}
        counts, bonus, state = sessions["simhash_counts"].run(None, inputs)
        np.testing.assert_array_equal(counts[0], exact.read(bits))
        np.testing.assert_array_equal(counts[0], tables.read(bits))
        np.testing.assert_allclose(bonus[0], exact.read(bits) ** -0.5, rtol=1e-6)
    assert counts.max() > 100
    looked, _, after = sessions["simhash_counts"].run(None, {**inputs, "update": np.array([[0]]), "tables": state})
    np.testing.assert_array_equal(looked, counts)
    np.testing.assert_array_equal(after, state)
