import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurips16.clients.protocol.errors import (
    IndexMismatchError,
    InvalidInputError,
    InvalidStatementError,
    UnexpectedReplyError,
)
from neurips16.clients.tasks.rank_premises import calls as premises
from neurips16.clients.tasks.rank_premises import premise_index
from neurips16.clients.tasks.rank_premises.neighbours import Neighbours, SymbolTable
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex, best
from neurips16.clients.tasks.rank_premises.statements import parse_all
from neurips16.clients.tasks.rank_premises.words import word_hashes

SIZE = 6
GOAL = "fof(t9_demo, axiom, (! [A] : r1(A, k1_demo)) )."
PREMISES = [f"fof(t{i}_demo, axiom, (! [A] : {'r' * (i % 23 + 1)}{i}(A)) )." for i in range(2, 60)]
DRAW = np.random.default_rng(3)
WORDS = word_hashes("p(k3)")


def make(path, count=0):
    index = PremiseIndex.create(path, build="c0ffee", max_length=100, embedding_size=SIZE)
    return index.extend(*some(count)) if count else index


def some(count, prefix="p"):
    statements = parse_all(f"fof({prefix}{i}, axiom, {prefix}(k{i}))." for i in range(count))
    return statements, DRAW.standard_normal((count, SIZE)).astype(np.float32)


def test_network_scores_are_products(tmp_path, monkeypatch):
    monkeypatch.setattr(premise_index, "ROWS_PER_SEGMENT", 40)
    index, parts = make(tmp_path / "i"), []
    for count in (1, 30, 20, 25, 100):
        statements, embeddings = some(count)
        parts.append(embeddings)
        index = index.extend(statements, embeddings)
    conjecture = DRAW.standard_normal(SIZE).astype(np.float32)
    want = np.concatenate(parts) @ conjecture
    np.testing.assert_allclose(index.scores(conjecture, WORDS, "network"), want, atol=1e-5)
    np.testing.assert_allclose(index.scores(conjecture, WORDS, "network", 33), want[:33], atol=1e-5)
    with pytest.raises(InvalidInputError, match="shape"):
        index.scores(conjecture[:-1], WORDS)


def test_similarity_over_segments_is_that_of_one_list(tmp_path, monkeypatch):
    monkeypatch.setattr(premise_index, "ROWS_PER_SEGMENT", 8)
    index, every = make(tmp_path / "i"), []
    for count in (5, 2, 7, 9, 3):
        statements, embeddings = some(count)
        every += statements
        index = index.extend(statements, embeddings)
    whole = Neighbours([SymbolTable.of([word_hashes(s.formula) for s in every])])
    np.testing.assert_allclose(index.neighbours.similarity(WORDS), whole.similarity(WORDS), atol=1e-6)
    np.testing.assert_allclose(
        index.scores(np.zeros(SIZE, np.float32), WORDS, "neighbours"), whole.similarity(WORDS), atol=1e-6
    )


def test_known_proofs_vote_and_are_kept(tmp_path):
    index = make(tmp_path / "i", 6)
    zero = np.zeros(SIZE, np.float32)
    index, new = index.add_proofs({"p3": ["p1", "nowhere"], "nobody": ["p2"], "p5": ["p4"]})
    assert new == 2
    scores = PremiseIndex.open(tmp_path / "i").scores(zero, WORDS, "neighbours")
    assert np.argsort(-scores, kind="stable")[:2].tolist() == [3, 1]  # p3 is the same statement, p1 proves it
    assert scores[1] > scores[2]
    before = index.scores(zero, WORDS, "neighbours", 3)  # what is proved later is not known yet
    assert before[1] == before[2]
    index, new = index.add_proofs({"p3": ["p1", "p2"]})
    assert new == 1
    grown = index.extend(*some(3, "q"))
    assert grown.scores(zero, WORDS, "neighbours")[2] == pytest.approx(scores[1], rel=0.2)
    assert sum(name.endswith("proofs.npy") for name in os.listdir(tmp_path / "i")) == 1


def test_statements_come_back_in_order_with_their_places(tmp_path):
    texts = ["fof(a, axiom, p).", "  q('č')", "fof( b , axiom, two\n& lines).", "fof(ab, axiom, r)."]
    index = make(tmp_path / "i", 3).extend(parse_all(texts), np.zeros((4, SIZE), np.float32))
    assert list(index.texts())[3:] == texts
    assert [index.text(place) for place in range(3, 7)] == texts
    assert [index.place_of(name) for name in ("p1", "a", "b", "ab", "c", "")] == [1, 3, 5, 6, None, None]
    for nowhere in (-1, 7):
        with pytest.raises(IndexError):
            index.text(nowhere)


def test_a_reader_keeps_what_it_opened(tmp_path):
    old = make(tmp_path / "i", 5)
    texts = list(old.texts())
    new = old.extend(*some(3, "q"))
    assert (len(old), len(new)) == (5, 8)
    assert list(old.texts()) == texts
    assert list(new.texts())[:5] == texts


def test_segments_stay_few_and_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(premise_index, "ROWS_PER_SEGMENT", 10)
    index = make(tmp_path / "i")
    for _ in range(25):
        index = index.extend(*some(2))
    index = index.extend(*some(1))  # sweeps what the one before replaced
    names = {name.split(".")[0] for name in os.listdir(tmp_path / "i") if name.startswith("0")}
    assert len(index) == 51
    assert len(names) <= 7


def test_embeddings_are_mapped_and_not_copied(tmp_path):
    index = make(tmp_path / "i", 5)
    assert all(isinstance(segment.embeddings, np.memmap) for segment in index._segments)


@pytest.mark.parametrize("step", ["_write_segment", "_write_manifest", "os.replace"])
def test_a_crash_leaves_the_index_as_it_was(tmp_path, monkeypatch, step):
    index = make(tmp_path / "i", 5)
    conjecture = np.ones(SIZE, np.float32)
    texts, scores = list(index.texts()), index.scores(conjecture, WORDS)

    def crash(*arguments):
        raise RuntimeError("the power is gone")

    target = premise_index.os if step.startswith("os") else premise_index
    with monkeypatch.context() as patch:
        patch.setattr(target, step.split(".")[-1], crash)
        with pytest.raises(RuntimeError):
            index.extend(*some(4, "q"))
    again = PremiseIndex.open(tmp_path / "i")
    assert list(again.texts()) == texts
    np.testing.assert_array_equal(again.scores(conjecture, WORDS), scores)
    grown = again.extend(*some(4, "q"))
    assert len(grown) == 9
    assert len(list(grown.texts())) == 9


def test_two_writers(tmp_path):
    index = make(tmp_path / "i", 2)
    # The lock belongs to the opened file, so it keeps out this process as it does any other.
    with premise_index._locked(tmp_path / "i"), pytest.raises(InvalidInputError, match="another process is growing"):
        index.extend(*some(1))
    index.extend(*some(1))
    with pytest.raises(InvalidInputError, match="changed by another process"):
        index.extend(*some(1))


def test_what_is_no_index(tmp_path):
    with pytest.raises(InvalidInputError, match="no index of premises: make one"):
        PremiseIndex.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="no index of premises"):
        PremiseIndex.open(tmp_path / "file")
    with pytest.raises(InvalidInputError, match="not empty"):
        make(tmp_path)
    with pytest.raises(InvalidInputError, match="cannot be written: "):
        make(tmp_path / "file")


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lambda p: (p / "index.json").write_text("{"), "damaged index.json"),
        (lambda p: (p / "index.json").write_text('{"format": 99}'), "not of format 2"),
        (lambda p: (p / "000000.offsets.npy").unlink(), "lacks .*offsets"),
        (lambda p: (p / "000000.embeddings.npy").write_bytes(b"x"), "damaged segment 000000"),
        (lambda p: os.truncate(p / "000000.embeddings.npy", 150), "damaged segment 000000"),
        (lambda p: os.truncate(p / "000000.statements.txt", 10), "cut short"),
        (lambda p: (p / "000000.symbols.npz").unlink(), "lacks .*symbols"),
        (lambda p: os.truncate(p / "000000.symbols.npz", 40), "damaged segment 000000"),
        (lambda p: np.savez(p / "000000.symbols.npz", symbols=np.zeros(1)), "damaged segment 000000"),
        (lambda p: os.truncate(p / "000000.statements.txt", 0), "000000"),
        (lambda p: np.save(p / "000000.embeddings.npy", np.zeros((5, SIZE))), "not of shape"),
        (lambda p: np.save(p / "000000.embeddings.npy", np.zeros((4, SIZE), np.float32)), "not of shape"),
    ],
)
def test_damage_is_seen(tmp_path, harm, text):
    make(tmp_path / "i", 5)
    harm(tmp_path / "i")
    with pytest.raises(InvalidInputError, match=text) as caught:
        PremiseIndex.open(tmp_path / "i")
    assert "\n" not in str(caught.value)


@given(
    hnp.arrays(np.float32, st.integers(0, 40), elements=st.sampled_from([-1.5, 0.0, 0.25, 2.0, 3.0])),
    st.one_of(st.none(), st.integers(1, 50)),
)
def test_best_is_a_stable_sort(scores, top_k):
    want = sorted(range(len(scores)), key=lambda place: -scores[place])[:top_k]
    assert best(scores, top_k).tolist() == want


def grow(client, path, statements):
    return client.run(premises.grow_index(path, statements))


def test_ranking_with_an_index_is_ranking_without(client, server, tmp_path):
    grown = grow(client, tmp_path / "i", PREMISES)
    assert len(grown.added) == len(grown.index) == len(PREMISES)
    server.faults.calls.clear()
    indexed = client.rank_premises(GOAL, PremiseIndex.open(tmp_path / "i"))
    assert server.faults.calls["ModelInfer"] == 1  # the conjecture alone
    direct = client.rank_premises(GOAL, PREMISES)
    assert [(p.rank, p.index, p.text) for p in indexed] == [(p.rank, p.index, p.text) for p in direct]
    np.testing.assert_allclose([p.score for p in indexed], [p.score for p in direct], rtol=1e-5, atol=1e-5)
    assert list(client.rank_premises(GOAL, grown.index, top_k=3)) == list(indexed)[:3]


def test_growing_encodes_only_what_is_new(client, server, tmp_path):
    grow(client, tmp_path / "i", PREMISES[:30])
    server.faults.shapes.clear()
    grown = grow(client, tmp_path / "i", [*PREMISES, PREMISES[-1], PREMISES[40]])
    encoded = sum(shape[0] for model, shape in server.faults.shapes if model == "premise_encoder")
    assert encoded == len(PREMISES) - 30
    assert [s.index for s in grown.added] == list(range(30, len(PREMISES)))
    assert list(grown.index.texts()) == PREMISES
    assert grow(client, tmp_path / "i", PREMISES).added == ()


def test_growing_goes_on_after_a_failure(client, server, tmp_path, monkeypatch):
    monkeypatch.setattr(premises, "STATEMENTS_PER_COMMIT", 10)
    server.max_batch_size = 10
    seen = []

    def fail_late(model, outputs):
        seen.append(model)
        return {} if len(seen) == 5 else outputs

    server.faults.change_output = fail_late
    with pytest.raises(UnexpectedReplyError):
        grow(client, tmp_path / "i", PREMISES)
    kept = len(PremiseIndex.open(tmp_path / "i"))
    assert 0 < kept < len(PREMISES)
    server.faults.change_output = None
    grown = grow(client, tmp_path / "i", PREMISES)
    assert len(grown.added) == len(PREMISES) - kept
    assert list(grown.index.texts()) == PREMISES


def test_an_index_of_another_build(client, server, tmp_path):
    index = grow(client, tmp_path / "i", PREMISES).index
    server.faults.parameters = {"build": "f00d"}
    for use in (lambda: client.rank_premises(GOAL, index), lambda: grow(client, tmp_path / "i", ["new"])):
        with pytest.raises(IndexMismatchError, match=r"build c0ffee .* server holds build f00d: make a new index"):
            use()


def test_models_that_change_while_an_index_grows(client, server, tmp_path):
    def reload(model, outputs):
        server.faults.parameters = {"build": "f00d"}
        return outputs

    grow(client, tmp_path / "i", PREMISES[:5])
    server.faults.change_output = reload
    with pytest.raises(IndexMismatchError):
        grow(client, tmp_path / "i", PREMISES)
    assert len(PremiseIndex.open(tmp_path / "i")) == 5


def test_statements_over_the_maximum_length_stay_known(client, server, tmp_path):
    server.max_length = 64
    grown = grow(client, tmp_path / "i", ["p", "q" * 65, "r"])
    assert grown.truncated == (1,)
    more = grow(client, tmp_path / "i", ["q" * 65, "s", "t" * 80])
    assert more.truncated == (2,)  # of the list
    assert more.index.truncated == (1, 4)  # of the index
    assert client.rank_premises(GOAL, more.index).truncated == (1, 4)


def test_a_wrong_character_stops_before_anything_is_written(client, tmp_path):
    with pytest.raises(InvalidStatementError):
        grow(client, tmp_path / "i", ["p", "#"])
    assert not (tmp_path / "i").exists()


def test_for_a_proof_neither_itself_nor_what_comes_later(client, tmp_path):
    index = grow(client, tmp_path / "i", PREMISES).index
    goal = PREMISES[20]

    def rank(conjecture, candidates, **options):
        return client.run(premises.rank_premises(conjecture, candidates, for_proof=True, **options))

    assert sorted(p.index for p in rank(goal, index)) == list(range(20))
    assert rank(goal, index).excluded == len(PREMISES) - 20
    assert len(rank(goal, index, top_k=4)) == 4
    renamed = goal.replace("t22_demo", "new_name")
    assert sorted(p.index for p in rank(renamed, index)) == [i for i in range(len(PREMISES)) if i != 20]
    assert sorted(p.index for p in rank(goal, PREMISES)) == [i for i in range(len(PREMISES)) if i != 20]
    assert (rank(renamed, index).excluded, rank(goal, PREMISES).excluded) == (1, 1)
    assert len(rank(goal, [goal])) == 0
    assert len(rank(PREMISES[0], index)) == 0


def test_the_manifest_is_plain(tmp_path):
    make(tmp_path / "i", 2)
    manifest = json.loads((tmp_path / "i" / "index.json").read_text())
    assert manifest["build"] == "c0ffee"
    assert (manifest["embedding_size"], manifest["max_length"], manifest["unit"]) == (SIZE, 100, "words")
    assert np.load(tmp_path / "i" / "000000.embeddings.npy").shape == (2, SIZE)
