from __future__ import annotations

import numpy as np

from neurips16.training.data.deepmath.batches import TokenStore, make_batch
from neurips16.training.data.deepmath.module import DeepMathData
from neurips16.training.data.deepmath.reader import normalise, read_library
from neurips16.training.data.deepmath.tokens import Tokenizer, character_vocabulary, word_vocabulary
from neurips16.training.data.deepmath.usage import Usage


def test_characters_and_words_get_ids_and_unknown_ones_zero():
    assert character_vocabulary(["ab", "bc"]) == ["a", "b", "c"]
    assert Tokenizer(["a", "b"], "character")("abz").tolist() == [1, 2, 0]
    assert word_vocabulary(["p(q)", "p"], 2) == ["p"]
    assert Tokenizer(["p", "*"], "word")("p(q,X)").tolist() == [1, 0, 2]


def test_the_store_cuts_pads_and_chunks_without_losing_a_statement():
    store = TokenStore([np.arange(n, dtype=np.int32) + 1 for n in (3, 1, 9, 2)], max_length=5)
    tokens, lengths = store.padded([2, 1])
    assert tokens.tolist() == [[1, 2, 3, 4, 5], [1, -1, -1, -1, -1]]
    assert lengths.tolist() == [5, 1]
    chunks = list(store.chunks(np.array([0, 1, 2, 3]), max_tokens=6))
    assert sorted(np.concatenate([places for places, _ in chunks]).tolist()) == [0, 1, 2, 3]
    assert all(tokens.numel() <= 6 for places, (tokens, _) in chunks if len(places) > 1)


def _store(library):
    tokenizer = Tokenizer(character_vocabulary(map(normalise, library.statements)), "character")
    return TokenStore((tokenizer(normalise(s)) for s in library.statements), 200)


def _batch(library, chosen, *, random=(), mined=None):
    chances = np.linspace(-3, -1, len(library.statements)).astype(np.float32)
    return chances, make_batch(
        chosen,
        _store(library),
        random=np.array(random, int),
        mined=mined or {},
        log_chances=chances,
        usage=Usage(np.arange(len(library.statements)), library.conjectures),
        max_tokens=400,
    )


def test_a_batch_has_every_listed_pair_and_knows_what_stands_before_what(deepmath_folder):
    library = read_library(deepmath_folder)
    chosen = library.conjectures[:6]
    _, batch = _batch(library, chosen, random=[58, 3])
    premises = batch.premises.indices
    listed = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in chosen]))
    assert premises.tolist() == np.union1d(listed, [58, 3]).tolist()
    for row, conjecture in enumerate(chosen):
        mine = batch.pairs[:, 0] == row
        ids, useful = premises[batch.pairs[mine, 1].numpy()], batch.useful[mine].bool().numpy()
        assert set(ids[useful]) == set(conjecture.useful) == set(premises[batch.needed[row].numpy()])
        assert set(ids[~useful]) == set(conjecture.useless)
        assert set(premises[batch.earlier[row].numpy()]) == {i for i in premises if i < conjecture.statement}


def test_mined_statements_are_in_the_batch_for_certain(deepmath_folder):
    library = read_library(deepmath_folder)
    chosen = library.conjectures[:2]
    other = np.array([4], np.int32)
    chances, batch = _batch(library, chosen, mined={chosen[0].statement: other, 10**6: np.array([59])})
    premises = batch.premises.indices.tolist()
    assert 4 in premises
    want = [0.0 if i == 4 else chances[i] for i in premises]
    np.testing.assert_allclose(batch.log_chance.numpy(), want)


def test_an_epoch_has_each_conjecture_once_in_another_order_each_time(deepmath_folder):
    class Trainer:
        current_epoch, global_step, accumulate_grad_batches, lightning_module = 0, 0, 1, None

    orders = []
    for epoch in (0, 1):
        data = DeepMathData(str(deepmath_folder), conjectures_per_batch=8, random_premises=5)
        data.trainer = Trainer()
        data.trainer.current_epoch = epoch
        train = data.conjectures("train")
        data.trainer.global_step = epoch * -(-len(train) // 8)
        batches = list(data.train_dataloader())
        orders.append([i for batch in batches for i in batch.conjectures.indices.tolist()])
        assert sorted(orders[-1]) == sorted(c.statement for c in train)
    assert orders[0] != orders[1]
    data.trainer.global_step += 2  # two batches of this epoch are done
    rest = [i for batch in data.train_dataloader() for i in batch.conjectures.indices.tolist()]
    assert rest == orders[1][16:]


def test_the_batch_does_not_know_what_its_own_conjectures_list(deepmath_folder):
    library = read_library(deepmath_folder)
    chosen, others = library.conjectures[:6], library.conjectures[6:]
    _, batch = _batch(library, chosen)
    for premise, counts in zip(batch.premises.indices, batch.usage.tolist(), strict=True):
        assert counts == [sum(premise in c.useful for c in others), sum(premise in c.useless for c in others)]
