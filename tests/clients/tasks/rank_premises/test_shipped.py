"""The clients against a real Triton with the models that ship."""

import asyncio
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from neurips16.clients import AsyncClient, Client
from neurips16.clients.tasks.rank_premises import calls as premises
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex
from neurips16.clients.tasks.rank_premises.premise_models import premise_models
from neurips16.clients.tasks.rank_premises.statements import Statement
from neurips16.clients.tasks.rank_premises.words import word_hashes

MODELS = Path(__file__).parents[4] / "serving/models"
pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="needs the serving extra"),
    pytest.mark.skipif(not (MODELS / "premise_encoder").is_dir(), reason=f"needs the shipped models in {MODELS}"),
]

GOAL = "fof(t3_xboole_1, axiom,  (! [A] :  (r1_tarski(A, k1_xboole_0) => A=k1_xboole_0) ) )."
USEFUL = [
    "fof(d10_xboole_0, axiom,  (! [A] :  (! [B] :  (A=B <=>  (r1_tarski(A, B) & r1_tarski(B, A)) ) ) ) ).",
    "fof(t2_xboole_1, axiom,  (! [A] : r1_tarski(k1_xboole_0, A)) ).",
]
OTHERS = [
    f"fof(t{i}_demo_1, axiom,  (! [A] :  (v{i}_demo_1(A) =>  (! [B] : k{i % 7}_demo_1(A, B)={'k1_demo_2(' * (i % 31)}B"
    f"{')' * (i % 31)}) ) ) )."
    for i in range(40)
]


@pytest.fixture(scope="module")
def url():
    from neurips16.serving.triton.server import TritonServer

    with TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server:
        yield server.url


@pytest.fixture
def real(url):
    with Client(url) as client:
        yield client


def test_models_and_their_facts(real):
    assert real.server_ready()
    assert {"premise_encoder", "premise_ranker"} <= {m.name for m in real.models() if m.ready}
    facts = real.run(premise_models())
    assert (facts.reads, facts.max_length, facts.rank_size) == ("words", 2048, 257)


def test_padding_and_words_beyond_the_maximum_length_do_not_matter_to_the_model(real):
    long = " & ".join(f"p{i % 9}(a)" for i in range(1500))
    for formula in (Statement.parse(GOAL).formula, long):
        hashes = word_hashes(formula)
        answers = [
            real.infer("premise_encoder", {"words": np.pad(row, (0, pad))[None]})
            for row, pad in ((hashes, 0), (hashes, 13), (hashes[:2048], 64))
        ]
        for answer in answers[1:]:
            np.testing.assert_allclose(answer["premise_embedding"], answers[0]["premise_embedding"], atol=1e-4)


def test_batches_answer_as_single_statements(real):
    alone = [real.rank_premises(GOAL, [premise])[0].score for premise in OTHERS[::10]]
    together = {p.index: p.score for p in real.rank_premises(GOAL, OTHERS)}
    np.testing.assert_allclose([together[i] for i in range(0, len(OTHERS), 10)], alone, atol=1e-4)


def test_async_client_and_index_rank_the_same(real, url, tmp_path):
    statements = [*OTHERS, *USEFUL]

    async def ask():
        async with AsyncClient(url) as client:
            return await client.rank_premises(GOAL, statements)

    direct = real.rank_premises(GOAL, statements)
    real.run(premises.grow_index(tmp_path / "index", statements))
    for other in (asyncio.run(ask()), real.rank_premises(GOAL, PremiseIndex.open(tmp_path / "index"))):
        scores = {p.index: p.score for p in other}
        np.testing.assert_allclose([scores[p.index] for p in direct], [p.score for p in direct], atol=1e-4)


@pytest.mark.skipif(shutil.which("eprover") is None, reason="needs the E prover: apt-get install eprover")
def test_prove(run_command, url, tmp_path):
    (tmp_path / "goal.p").write_text(GOAL)
    (tmp_path / "premises.p").write_text("\n".join([*OTHERS, *USEFUL, GOAL]))
    arguments = ["--conjecture", tmp_path / "goal.p", "--premises", tmp_path / "premises.p", "--top", 42]
    status, out, _ = run_command("prove", "--url", url, *arguments)
    assert status == 0
    assert "t3_xboole_1 from the best 42: Theorem" in out
    assert "d10_xboole_0" in out
    assert "t2_xboole_1" in out
