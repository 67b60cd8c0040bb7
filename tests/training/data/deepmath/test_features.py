from __future__ import annotations

import numpy as np
import pytest
import torch

from neurips16.training.data.deepmath import features
from neurips16.training.data.deepmath.features import BIGRAMS, ENDINGS, LOW, WORDS, FeatureStore, StatementBuckets
from neurips16.training.data.deepmath.words import CONNECTIVES, VARIABLE, word_hash, word_hashes
from neurips16.training.errors import DataError
from neurips16.training.systems.deepmath.word_features import WordFeatures

LINES = ["p_a(X)&p_a(Y)=>q_b", "q_b&p_a(f(7))", "~q_b=r", "r", ""]


def _statements(lines=LINES, max_words=50):
    return StatementBuckets([word_hashes(line) for line in lines], max_words)


@pytest.fixture
def common(monkeypatch):
    """Every bigram has a row, so that a handful of statements has all three kinds of features."""
    blocks = (WORDS, ENDINGS, features.Block("bigrams", BIGRAMS.buckets, 2))
    monkeypatch.setattr(features, "BLOCKS", blocks)


def test_the_weights_of_a_statement_are_worked_by_hand(common):
    statements = _statements()
    rows = statements.rows(np.arange(5))
    matrix = statements.matrix(rows).toarray()
    p, q = (rows.rows[0][word_hash(word) % LOW % WORDS.buckets] for word in ("p_a", "q_b"))
    # p_a is in two of the five statements, q_b in three; of the first statement's words these two have a row.
    raw = np.array([(1 + np.log(2)) * (np.log(6 / 3) + 1), np.log(6 / 4) + 1])
    np.testing.assert_allclose(matrix[0, [p, q]], raw / np.linalg.norm(raw), rtol=1e-6)
    assert (matrix[4] == 0).all()
    assert (matrix[:, 0] == 0).all()


def test_each_block_of_a_statement_has_the_norm_one(common):
    statements = _statements()
    rows = statements.rows(np.arange(5))
    matrix = statements.matrix(rows).toarray()
    for block in rows.rows[:2]:
        columns = np.unique(block[block > 0])
        norms = np.linalg.norm(matrix[:3][:, columns], axis=1)
        np.testing.assert_allclose(norms, 1, rtol=1e-6)


def test_rare_words_connectives_and_variables_have_no_row():
    rows = _statements().rows(np.arange(5)).rows[0]
    for word in (*CONNECTIVES, VARIABLE, "f", "7"):
        assert rows[word_hash(word) % LOW % WORDS.buckets] == 0, word
    assert rows[word_hash("r") % LOW % WORDS.buckets] > 0


def test_only_statements_that_training_sees_count():
    assert len(_statements().rows(np.array([2, 3, 4])).idf) == 2  # r alone is in two of them


def test_too_many_features_are_an_error(monkeypatch):
    monkeypatch.setattr(features, "MAX_ROWS", 3)
    with pytest.raises(DataError, match=r"more than 3 features.*min_statements"):
        _statements().rows(np.arange(5))


def _model(rows, max_words=50):
    torch.manual_seed(0)
    model = WordFeatures(len(rows.idf) - 1, 6, max_words).eval()
    model.fill(rows)
    return model


def _padded(lines):
    hashes = [word_hashes(line) for line in lines]
    batch = torch.zeros(len(lines), max(map(len, hashes)) + 2, dtype=torch.int64)
    for row, values in zip(batch, hashes, strict=True):
        row[: len(values)] = torch.from_numpy(values)
    return batch


@pytest.mark.parametrize("max_words", [50, 3])
def test_the_graph_computes_what_training_has_as_a_matrix(common, monkeypatch, max_words):
    monkeypatch.setattr("neurips16.training.systems.deepmath.word_features.BLOCKS", features.BLOCKS)
    statements = _statements(max_words=max_words)
    rows = statements.rows(np.arange(5))
    model = _model(rows, max_words)
    ((places, inputs),) = FeatureStore(statements.matrix(rows), statements.keys).chunks(np.arange(5), 0)
    assert places.tolist() == [0, 1, 2, 3, 4]
    want = torch.from_numpy(statements.matrix(rows).toarray()) @ model.table
    torch.testing.assert_close(model(*inputs), want)
    torch.testing.assert_close(model.from_words(_padded(LINES)), want)
    assert want[:3].abs().sum() > 0


def test_a_word_that_training_never_saw_changes_nothing_but_bigrams():
    statements = _statements()
    model = _model(statements.rows(np.arange(5)))
    known, more = model.from_words(_padded(["r", "r&unheard_of(unseen)"]))
    torch.testing.assert_close(known, more)


def test_the_known_share_counts_symbols_only():
    model = _model(_statements().rows(np.arange(5)))
    shares = model.known_share(_padded(["r", "r&unheard_of(X)=>r", "unheard_of=unseen", "X=Y"]))
    torch.testing.assert_close(shares, torch.tensor([[1.0], [2 / 3], [0.0], [0.0]]))


def test_dropout_hides_features_and_keeps_the_mean():
    statements = _statements()
    rows = statements.rows(np.arange(5))
    model = _model(rows)
    model.dropout = 0.5
    ((_, inputs),) = FeatureStore(statements.matrix(rows), statements.keys).chunks(np.array([0]), 0)
    want = model(*inputs)
    model.train()
    drawn = torch.stack([model(*inputs) for _ in range(4000)])
    assert drawn.std(dim=0).max() > 0.01
    torch.testing.assert_close(drawn.mean(dim=0), want, atol=0.02, rtol=0.1)


def test_only_the_rows_of_a_batch_get_a_gradient():
    statements = _statements()
    rows = statements.rows(np.arange(5))
    model = _model(rows).train()
    ((_, inputs),) = FeatureStore(statements.matrix(rows), statements.keys).chunks(np.array([3]), 0)
    model(*inputs).sum().backward()
    assert model.table.grad.is_sparse
    touched = model.table.grad.coalesce().indices()[0].tolist()
    assert touched == [int(rows.rows[0][word_hash("r") % LOW % WORDS.buckets])]
