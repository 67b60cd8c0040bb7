"""Novelty by the shipped model: rare rows come first; tables from files; what cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.tasks.novelty.command import read_table
from neurips16.clients.tasks.novelty.page import rank

ROOT = Path(__file__).parents[4]
VISITS = ROOT / "clients/tasks/novelty/examples/visits.npy"


@pytest.fixture(scope="module")
def client():
    return LocalClient(ROOT / "serving/models")


def test_what_few_others_are_like_comes_first(client):
    found = client.novelty(np.load(VISITS), bits=10)
    assert set(found.order[:40].tolist()) >= {57, 211, 388}
    assert (np.diff(found.counts[found.order]) >= 0).all()
    np.testing.assert_allclose(found.scores, found.counts**-0.5)
    assert found.codes.shape == (400, 10)


def test_counts_are_those_of_equal_codes_and_batches_do_not_matter(client):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(9000, 3))  # more than the model takes at a time
    found = client.novelty(states, bits=6)
    codes = found.codes @ (1 << np.arange(6))
    assert found.counts.tolist() == np.bincount(codes, minlength=64)[codes].tolist()
    again = client.novelty(np.concatenate([states, states]), bits=6)
    np.testing.assert_array_equal(again.counts[:9000], 2 * found.counts)


def test_seen_from_zero_the_mean_matters(client):
    states = np.random.default_rng(0).normal(size=(200, 5)) + 100
    assert len(np.unique(client.novelty(states, centre=False).codes, axis=0)) == 1
    assert len(np.unique(client.novelty(states).codes, axis=0)) > 20


@pytest.mark.parametrize(
    ("states", "options", "message"),
    [
        (np.zeros(3), {}, r"shape \[3\]"),
        (np.array([[1.0, np.nan]]), {}, "row 0 holds"),
        (np.zeros((2, 1025)), {}, "at most 1024 numbers"),
        (np.zeros((2, 2)), {"bits": 65}, r"1 … 64, got 65"),
        ([["a"]], {}, "table of numbers"),
    ],
)
def test_what_is_no_table_is_refused(client, states, options, message):
    with pytest.raises(InvalidInputError, match=message):
        client.novelty(states, **options)


def test_tables_in_files(tmp_path):
    numbers = np.arange(6.0).reshape(3, 2)
    table = pa.table(
        {"a": numbers[:, 0], "b": numbers[:, 1].astype(int), "name": ["x", "y", "z"], "v": numbers.tolist()}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    np.testing.assert_array_equal(read_table(tmp_path / "t.parquet", None), numbers)
    np.testing.assert_array_equal(read_table(tmp_path / "t.parquet", "v"), numbers)
    for path, column, message in (
        (tmp_path / "t.parquet", "w", "no column 'w'"),
        (tmp_path / "t.csv", None, "expected an .npy or a .parquet"),
        (tmp_path / "no.npy", None, "cannot be read"),
        (VISITS, "v", "--column is for Parquet"),
        (tmp_path / "t.parquet", "name", "cannot be read as a table"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            read_table(path, column)


def test_the_tab_shows_the_newest_rows(client, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    dropped = tmp_path / "visits.npy"
    dropped.write_bytes(VISITS.read_bytes())
    shown, said = rank(client, {"path": str(dropped)}, 10)
    assert said.startswith("400 rows have ")
    assert shown.count("<tr>") == 13
    assert rank(client, None, 10)[0] == ""
    dropped.write_bytes(b"no array")
    with pytest.raises(InvalidInputError, match="cannot be read as"):
        rank(client, {"path": str(dropped)}, 10)
