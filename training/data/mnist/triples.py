"""Triples of labelled images for disentangling: two of a class and one of another."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from neurips16.training.data.mnist.module import ImageBatch, MnistData


class TripleData(MnistData):
    """As `MnistData`, in batches of triples.

    A batch holds 3·B images: B first ones, then another image of the class of each, then one of another class for each.
    """

    @cached_property
    def members(self) -> list[np.ndarray]:
        """The indices of each class's training images."""
        labels = self.training_set.labels
        return [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def draw(self, number: int) -> ImageBatch:
        """The batch of that number, which alone decides what is in it."""
        rng = np.random.default_rng([self.seed, number])
        count, size = len(self.members), self.batch_size
        one = rng.integers(count, size=size)
        other = (one + rng.integers(1, count, size=size)) % count
        first, second, third = (
            np.array([rng.choice(self.members[c]) for c in classes]) for classes in (one, one, other)
        )
        return self.batch(np.concatenate([first, second, third]))
