from __future__ import annotations

import zlib

import numpy as np
import torch

from neurips16.training.data.deepmath import usage
from neurips16.training.data.deepmath.features import LOW, StatementBuckets
from neurips16.training.data.deepmath.reader import Conjecture
from neurips16.training.data.deepmath.usage import Usage, UsageTable
from neurips16.training.data.deepmath.words import word_hashes
from neurips16.training.systems.deepmath.usage_memory import WAYS, UsageMemory, usage_features

LINES = ["p(X)&q", "q&p(X)", "p(Y)|q", "r", ""]


def _keys(lines=LINES, max_words=50):
    return StatementBuckets([word_hashes(line) for line in lines], max_words).keys


def _conjecture(statement, useful, useless=()):
    return Conjecture(str(statement), statement, np.array(useful, np.int32), np.array(useless, np.int32))


def test_a_key_is_of_the_words_in_their_order():
    keys = _keys()
    assert keys[0] == keys[2]  # the words are p * q in both
    assert len(set(keys.tolist())) == 4
    assert keys[4] == 0
    assert _keys(max_words=1)[0] == _keys(["p"])[0]


def test_the_factors_stay_as_they_are():
    """Checkpoints and published models hold keys that were made with them."""
    assert zlib.crc32(usage.KEY_FACTORS.astype("<i4").tobytes()) == 2406933613
    words, most = (1 << 32) - 1, usage.KEY_FACTORS.astype(object).sum()
    assert words * most < 1 << 63


def test_listings_are_counted_by_key_and_may_be_left_out():
    first, second = _conjecture(3, [0, 1], [2]), _conjecture(4, [2])
    counts = Usage(_keys(), [first, second])
    assert counts.counts(np.arange(5)).tolist() == [[2, 1], [1, 0], [2, 1], [0, 0], [0, 0]]
    assert counts.counts(np.arange(3), without=[first]).tolist() == [[1, 0], [0, 0], [1, 0]]
    stranger = _conjecture(1, [0])  # was not counted, so there is nothing to leave out
    assert counts.counts(np.arange(3), without=[stranger]).tolist() == counts.counts(np.arange(3)).tolist()


def test_the_model_finds_by_words_what_was_counted_by_statement():
    found = Usage(_keys(), [_conjecture(3, [0, 1], [2]), _conjecture(4, [2])])
    memory = UsageMemory(len(found.table.prints))
    memory.fill(found.table)
    words = torch.zeros(5, 9, dtype=torch.int64)
    for row, line in zip(words, LINES, strict=True):
        hashes = torch.from_numpy(word_hashes(line) % LOW)
        row[: len(hashes)] = hashes
    keys = memory.keys(words)
    assert keys.tolist() == _keys().tolist()
    assert memory(keys).tolist() == found.counts(np.arange(5)).tolist()


def test_a_full_bucket_gives_each_statement_its_own():
    size = WAYS
    keys = np.arange(size) * usage.KEY_BUCKETS + 5
    counts = np.stack([np.arange(size) + 1, np.zeros(size, int)], axis=1)
    memory = UsageMemory(size)
    memory.fill(UsageTable.of(keys, counts))
    asked = torch.from_numpy(np.append(keys, [6, size * usage.KEY_BUCKETS + 5]))
    assert memory(asked)[:, 0].tolist() == [*range(1, size + 1), 0, 0]


def test_the_features_of_a_statement_that_was_never_listed_are_zero():
    assert usage_features(torch.tensor([[0, 0]])).tolist() == [[0, 0, 0]]
    which, how_useful, how_often = usage_features(torch.tensor([[3, 1]]))[0].tolist()
    assert np.allclose([which, how_useful, how_often], [np.log(2), np.log(4) / 2, np.log(5) / 2])
