"""Any model: lists of numbers, inputs that do not fit, readiness, and what a server counts."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from neurips16.clients import AsyncClient, Client, Retry, Timeout
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError, InvalidRequestError, ServerUnavailableError


@pytest.fixture
def ranker(server):
    """A client of the ranker, which takes two FP32 inputs."""
    with Client(server.url) as client:
        yield client


def inputs(conjecture, premises):
    return {"conjecture": conjecture, "premises": premises}


def test_lists_of_numbers_become_arrays_of_the_models_dtype(ranker, server):
    one, many = [[0.1] * 16], [[[0.25] * 16, [1] * 16]]
    got = ranker.infer("premise_ranker", inputs(one, many))
    want = ranker.infer("premise_ranker", inputs(np.array(one, np.float32), np.array(many, np.float32)))
    np.testing.assert_array_equal(got["scores"], want["scores"])
    assert ranker.infer("premise_encoder", {"text": [[97] * 64]})["premise_embedding"].shape == (1, 16)
    server.faults.calls.clear()
    ranker.infer("premise_ranker", inputs(np.array(one, np.float32), np.array(many, np.float32)))
    assert server.faults.calls["ModelConfig"] == 0  # arrays cost no further call


@pytest.mark.parametrize("value", [300, -1, 1.5])
def test_what_a_whole_number_type_cannot_hold(ranker, value):
    with pytest.raises(InvalidInputError, match=rf"input 'text' holds {value}.*, which is no UINT8"):
        ranker.infer("premise_encoder", {"text": [[value] * 64]})


def test_lists_that_are_no_array(ranker):
    with pytest.raises(InvalidInputError, match="input 'text' is no array"):
        ranker.infer("premise_encoder", {"text": [[1, 2], [3]]})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (inputs(np.zeros(16, np.float32), np.zeros((1, 2, 16), np.float32)), r"for a batch of one give \[1, 16\]"),
        (inputs(np.zeros((1, 16)), np.zeros((1, 2, 16), np.float32)), r"convert it with .astype\(np.float32\)"),
        ({"conjecture": np.zeros((1, 16), np.float32)}, r"its input 'premises', FP32 \[N, \?, 16\], is not given"),
        (
            {**inputs(np.zeros((1, 16), np.float32), np.zeros((1, 2, 16), np.float32)), "x": np.zeros(1)},
            "it has no input 'x', but conjecture, premises",
        ),
    ],
)
def test_what_does_not_fit_is_explained(scoring_repository, given, reason):
    given = {name: array[..., :4] if name != "x" else array for name, array in given.items()}  # of the tiny models
    reason = reason.replace("16", "4")
    with pytest.raises(InvalidRequestError, match=reason):
        LocalClient(scoring_repository).infer("premise_ranker", given)


def test_a_server_that_does_not_answer_is_not_ready(server):
    with Client("localhost:1", retry=Retry(attempts=1)) as client:
        assert client.server_ready() is False
        with pytest.raises(ServerUnavailableError, match="no server answers"):
            client.require_server_ready()
    with Client(server.url) as client:
        assert client.server_ready() is True
        client.require_server_ready()

    async def ask():
        async with AsyncClient("localhost:1", retry=Retry(attempts=1), timeout=Timeout(1, 1)) as client:
            return await client.server_ready()

    assert asyncio.run(ask()) is False


def test_the_infer_command(run_command, server, tmp_path):
    np.save(tmp_path / "text.npy", np.full((1, 64), 97, np.uint8))
    usual = ["infer", "premise_encoder", f"text={tmp_path}/text.npy", "--url", server.url]
    status, out, err = run_command(*usual, "--output", tmp_path / "out", "--json")
    assert (status, err) == (0, "")
    written = np.load(tmp_path / "out/premise_embedding.npy")
    assert written.shape == (1, 16)
    np.testing.assert_allclose(json.loads(out)["premise_embedding"], written)
    assert "float32" in run_command(*usual)[1]
    (tmp_path / "bad.npy").write_text("no array")
    for word, text in (
        ("text", "NAME=FILE.npy"),
        (f"text={tmp_path}/bad.npy", "no array of numbers"),
        ("a=b", "b can"),
    ):
        status, _, err = run_command("infer", "premise_encoder", word, "--url", server.url)
        assert status == 2
        assert text in err
