from __future__ import annotations

import numpy as np
import pytest

from neurips16.training.metrics.assignment import assignment_error, best_assignment


def test_the_assignment_is_one_to_one_even_where_two_categories_prefer_a_label():
    categories = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    labels = np.array([0, 0, 1, 0, 0, 0, 1, 2])  # both 0 and 1 are mostly label 0
    assigned = best_assignment(categories, labels, 3)
    assert assigned.tolist() == [1, 0, 2]
    assert assignment_error(categories, labels, assigned) == pytest.approx(3 / 8)


def test_a_category_that_is_left_over_is_wrong():
    assigned = best_assignment(np.array([0, 0, 1, 2]), np.array([1, 1, 0, 0]), 3)
    assert sorted(assigned.tolist()) == [-1, 0, 1]
    assert assignment_error(np.array([0, 1, 2]), np.array([1, 0, 0]), assigned) == pytest.approx(1 / 3)


def test_a_permutation_is_found():
    rng = np.random.default_rng(0)
    permutation = rng.permutation(10)
    categories = rng.integers(10, size=500)
    assert best_assignment(categories, permutation[categories], 10).tolist() == permutation.tolist()
