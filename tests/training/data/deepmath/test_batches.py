from __future__ import annotations

import itertools

import numpy as np

from neurips16.training.data.deepmath.batches import TokenStore, make_batch, neighbour_batches
from neurips16.training.data.deepmath.reader import normalise, read_library
from neurips16.training.data.deepmath.tokens import Tokenizer, character_vocabulary, word_vocabulary, words


def test_characters_and_words_get_ids_and_unknown_ones_zero():
    assert character_vocabulary(["ab", "bc"]) == ["a", "b", "c"]
    assert Tokenizer(["a", "b"], "character")("abz").tolist() == [1, 2, 0]
    assert "·".join(words("![A]:(r1_a(A,b)<=>p!=7)")) == "!·[·A·]·:·(·r1_a·(·A·,·b·)·<=>·p·!=·7·)"
    assert word_vocabulary(["p(q)", "p"], 2) == ["p"]
    assert Tokenizer(["p"], "word")("p(q)").tolist() == [1, 0, 0, 0]


def test_the_store_cuts_pads_and_chunks_without_losing_a_statement():
    store = TokenStore([np.arange(n, dtype=np.int32) + 1 for n in (3, 1, 9, 2)], max_length=5)
    tokens, lengths = store.padded([2, 1])
    assert tokens.tolist() == [[1, 2, 3, 4, 5], [1, -1, -1, -1, -1]]
    assert lengths.tolist() == [5, 1]
    chunks = list(store.chunks(np.array([0, 1, 2, 3]), max_tokens=6))
    assert sorted(np.concatenate(chunks).tolist()) == [0, 1, 2, 3]
    assert all(store.lengths[chunk].max() * len(chunk) <= 6 for chunk in chunks if len(chunk) > 1)


def _store(library):
    tokenizer = Tokenizer(character_vocabulary(map(normalise, library.statements)), "character")
    return TokenStore((tokenizer(normalise(s)) for s in library.statements), 200)


def test_a_batch_has_every_listed_pair_and_no_listed_pair_as_a_random_negative(deepmath_folder):
    library = read_library(deepmath_folder)
    chosen = library.conjectures[:6]
    mined = {chosen[0].statement: chosen[1].useful[:1]}
    batch = make_batch(
        chosen, _store(library), random_negatives=5, mined=mined, max_tokens=400, rng=np.random.default_rng(1)
    )
    union = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in chosen]))
    for row, conjecture in enumerate(chosen):
        mine = batch.pairs[:, 0] == row
        ids = union[batch.pairs[mine, 1].numpy()]
        useful = batch.useful[mine].bool().numpy()
        listed = batch.listed[mine].numpy()
        assert set(ids[useful]) == set(conjecture.useful)
        assert set(ids[listed & ~useful]) == set(conjecture.useless)
        assert set(mined.get(conjecture.statement, [])) - set(conjecture.useful) <= set(ids[~useful])
        assert not set(ids[~listed]) & (set(conjecture.useful) | set(conjecture.useless) | {conjecture.statement})
    assert (~batch.listed).any()


def test_random_negatives_come_from_the_pool_that_is_given(deepmath_folder):
    library = read_library(deepmath_folder)
    chosen = library.conjectures[:3]
    listed = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in chosen]))
    pool = np.setdiff1d(np.arange(len(library.statements)), [*listed, *(c.statement for c in chosen)])[:4]
    batch = make_batch(
        chosen,
        _store(library),
        random_negatives=50,
        pool=pool,
        mined={},
        max_tokens=400,
        rng=np.random.default_rng(1),
    )
    drawn = batch.premises.indices[batch.pairs[~batch.listed, 1].numpy()]
    assert set(drawn) == set(pool)
    assert len(drawn) == len(pool) * len(chosen)  # each once for each conjecture


def test_an_epoch_has_each_conjecture_once_and_neighbours_together(deepmath_folder):
    conjectures = read_library(deepmath_folder).conjectures
    batches = neighbour_batches(conjectures, run=4, batch=8, rng=np.random.default_rng(0))
    assert [len(b) for b in batches] == [8] * 5
    seen = [c.statement for b in batches for c in b]
    assert sorted(seen) == sorted(c.statement for c in conjectures)
    assert sum(b - a == 1 for a, b in itertools.pairwise(seen)) >= 25
    again = neighbour_batches(conjectures, run=4, batch=8, rng=np.random.default_rng(1))
    assert [c.statement for b in again for c in b] != seen
