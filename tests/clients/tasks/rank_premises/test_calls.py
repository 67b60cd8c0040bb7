import asyncio

import numpy as np
import pytest

from neurips16.clients import AsyncClient
from neurips16.clients.protocol.errors import (
    InvalidInputError,
    InvalidStatementError,
    ModelNotFoundError,
    ModelNotReadyError,
    UnexpectedReplyError,
)
from neurips16.clients.tasks.rank_premises.neighbours import COSINE_WEIGHT
from neurips16.clients.tasks.rank_premises.statements import Statement

GOAL = "fof(t1_demo, axiom, (! [A] : r1(A, k1_demo)) )."
PREMISES = [f"fof(t{i}_demo, axiom, (! [A] : {'r' * (i % 23 + 1)}{i}(A)) )." for i in range(2, 60)]


def expected(server, goal, premises):
    """The scores of the pairwise model, statement by statement."""
    conjecture = server.embed("conjecture", Statement.parse(goal).code[: server.max_length].encode())
    rows = [server.embed("premise", Statement.parse(p).code[: server.max_length].encode()) for p in premises]
    return server.pair_score(conjecture, np.stack(rows))


def test_the_network_ranks_by_products(client, server):
    ranking = client.rank_premises(GOAL, PREMISES, method="network")
    scores = expected(server, GOAL, PREMISES)
    order = np.argsort(-scores, kind="stable")
    assert [p.index for p in ranking] == order.tolist()
    assert [p.rank for p in ranking] == list(range(1, len(PREMISES) + 1))
    assert [p.text for p in ranking] == [PREMISES[i] for i in order]
    np.testing.assert_allclose([p.score for p in ranking], scores[order], rtol=1e-5, atol=1e-5)
    assert ranking.truncated == ()
    assert not ranking.conjecture_truncated


def test_neighbours_rank_by_shared_symbols_and_the_hybrid_adds_both(client):
    goal = "q(k1,k2)"
    premises = ["p(k9)", "p(k1)", "p(k1)=>q(k2,k1)", "X=Y", "p(X)&p(k8)"]
    similar = client.rank_premises(goal, premises, method="neighbours")
    assert [one.index for one in similar][:2] == [2, 1]
    assert {one.score for one in similar if one.index in (0, 3, 4)} == {0.0}
    network = {one.index: one.score for one in client.rank_premises(goal, premises, method="network")}
    cosine = {one.index: one.score for one in similar}
    for one in client.rank_premises(goal, premises):
        assert one.score == pytest.approx(network[one.index] + COSINE_WEIGHT * cosine[one.index], abs=1e-4)
    with pytest.raises(InvalidInputError, match="hybrid, network, neighbours, got 'magic'"):
        client.rank_premises(goal, premises, method="magic")


def test_neighbours_need_no_encoding(client, server):
    client.rank_premises(GOAL, PREMISES, method="neighbours")
    assert server.faults.calls["ModelInfer"] == 0


def test_async_client_ranks_the_same(client, server):
    async def ask():
        async with AsyncClient(server.url) as other:
            return await other.rank_premises(GOAL, PREMISES, top_k=7)

    assert asyncio.run(ask()) == client.rank_premises(GOAL, PREMISES, top_k=7)


def test_top_k(client):
    whole = client.rank_premises(GOAL, PREMISES)
    assert list(client.rank_premises(GOAL, PREMISES, top_k=5)) == list(whole)[:5]
    assert len(client.rank_premises(GOAL, PREMISES, top_k=1000)) == len(PREMISES)
    with pytest.raises(InvalidInputError, match="top_k"):
        client.rank_premises(GOAL, PREMISES, top_k=0)


def test_equal_shapes_in_bounded_batches_and_duplicates_once(client, server):
    server.max_batch_size = 4
    premises = [f"{'r' * n}(a)" for n in (10, 100, 11, 105, 250, 12, 13, 14, 15)]
    ranking = client.rank_premises(GOAL, [*premises, *premises])
    shapes = sorted(shape for _, shape in server.faults.shapes[1:])  # the first is the conjecture
    assert shapes == [(1, 256), (2, 64), (2, 112), (4, 64)]
    assert len(ranking) == 2 * len(premises)
    scores = {p.index: p.score for p in ranking}
    assert all(scores[i] == scores[i + len(premises)] for i in range(len(premises)))


def test_padding_is_at_most_a_quarter(client, server):
    server.max_batch_size = 1
    lengths = range(65, 250, 7)
    client.rank_premises(GOAL, [f"{'r' * (n - 3)}(a)" for n in lengths])
    padded = sorted(shape[1] for _, shape in server.faults.shapes[1:])
    assert all(n <= got <= 1.25 * n for n, got in zip(lengths, padded, strict=True))
    assert len(set(padded)) <= 8


def test_equal_scores_keep_their_order(client):
    ranking = client.rank_premises(GOAL, ["p(a)", "q(b)", "p( a)", "p(a) "])
    assert [p.index for p in ranking if p.index != 1] == [0, 2, 3]


def test_several_requests_under_way_but_bounded(client, server):
    server.max_batch_size = 1
    server.faults.delay_s = 0.02
    client.rank_premises(GOAL, PREMISES[:12])
    assert 1 < server.faults.most_in_flight <= client.connection.max_in_flight


def test_wrapper_and_white_space_do_not_matter(client):
    forms = ["fof(x, axiom, (p(A) & q) ).", "(p(A) & q)", " ( p(A)\t& q ) ", "fof( 'a name' ,lemma,(p(A)&q))."]
    scores = {p.score for p in client.rank_premises(GOAL, forms)}
    assert len(scores) == 1


def test_statements_over_the_maximum_length_are_named(client, server):
    server.max_length = 100
    long = "p(" + "a" * 200 + ")"
    ranking = client.rank_premises(long, ["q", long, "r", long + "  "], method="network")
    assert ranking.truncated == (1, 3)
    assert ranking.conjecture_truncated
    assert ranking.max_length == 100
    wanted = expected(server, long, ["q", long])
    scores = {p.index: p.score for p in ranking}
    np.testing.assert_allclose([scores[0], scores[1]], wanted, rtol=1e-5)


def test_white_space_does_not_count_as_length(client, server):
    server.max_length = 100
    assert client.rank_premises(GOAL, ["p( " + "a" * 90 + " " * 90 + ")"]).truncated == ()


def test_empty_conjecture(client):
    for nothing in ("", " \n"):
        with pytest.raises(InvalidStatementError, match="conjecture is empty"):
            client.rank_premises(nothing, PREMISES)


def test_no_premises(client):
    with pytest.raises(InvalidInputError, match="no premises"):
        client.rank_premises(GOAL, [])
    with pytest.raises(InvalidInputError, match="no premises"):
        client.rank_premises(GOAL, "p(a)")  # a text is a sequence of texts, but never meant


def test_empty_premise_names_its_place(client):
    with pytest.raises(InvalidStatementError, match="premise 1 is empty"):
        client.rank_premises(GOAL, ["p", " "])


def test_character_outside_the_alphabet(client, server):
    with pytest.raises(InvalidStatementError, match=r"premise 1, line 1, column 6: .*'é' \(U\+00E9\)") as caught:
        client.rank_premises(GOAL, ["p(a)", "p(a) é", "\u00a0q"])
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidStatementError, match=r"the conjecture, line 1, column 1: .*'#'"):
        client.rank_premises("#p", ["p(a)"])
    assert server.faults.calls["ModelInfer"] == 0


def test_missing_and_unloaded_models(client, server):
    server.faults.unloaded = {"premise_encoder"}
    with pytest.raises(ModelNotReadyError, match=r"'premise_encoder', but not loaded: unloaded"):
        client.rank_premises(GOAL, PREMISES)
    server.faults.unloaded, server.faults.missing = set(), {"premise_encoder"}
    with pytest.raises(ModelNotFoundError, match=r"no model 'premise_encoder': it has premise_r"):
        client.rank_premises(GOAL, PREMISES)


@pytest.mark.parametrize(
    ("parameter", "value", "text"),
    [("max_length", "many", "max_length 'many'"), ("alphabet", "aé", "beyond ASCII"), ("build", "", "no parameter")],
)
def test_configurations_that_are_not_ours(client, server, parameter, value, text):
    server.faults.parameters = {parameter: value}
    with pytest.raises(UnexpectedReplyError, match=text):
        client.rank_premises(GOAL, PREMISES)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda model, out: {k: v[:, :-1] for k, v in out.items()}, r"expected float32 \["),
        (lambda model, out: {k: v * np.float32("nan") for k, v in out.items()}, "not finite"),
        (lambda model, out: {k: v.astype(np.float64) for k, v in out.items()}, "float64"),
        (lambda model, out: {}, "did not answer with"),
    ],
)
@pytest.mark.parametrize("side", ["premise", "conjecture"])
def test_answers_that_must_not_become_ranks(client, server, change, text, side):
    def changed(model, outputs):
        mine = {name: value for name, value in outputs.items() if name == f"{side}_embedding"}
        return {name: value for name, value in outputs.items() if name not in mine} | change(model, mine)

    server.faults.change_output = changed
    with pytest.raises(UnexpectedReplyError, match=text):
        client.rank_premises(GOAL, PREMISES[:3])


@pytest.mark.parametrize(("share", "unlike"), [(0.0, True), (0.25, True), (0.5, False)])
def test_a_conjecture_is_said_to_be_unlike_anything_in_training(client, server, share, unlike):
    assert client.rank_premises(GOAL, PREMISES[:2]).known_share is None  # a model that does not tell
    server.faults.parameters["known_share_at"] = "10"

    def change(model, outputs):
        for name in outputs:
            outputs[name][:, 10] = share
        return outputs

    server.faults.change_output = change
    ranking = client.rank_premises(GOAL, PREMISES[:2])
    assert ranking.known_share == share
    assert ranking.unlike_training == unlike
