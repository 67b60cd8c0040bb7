"""What an input is taken for, and how it is cut into shards."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.scoring.output import ScoreOutput
from neurips16.clients.scoring.sources import Source, cut_into_shards, read_shard

ROWS = 2500


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.png", "sub/c.png", "sub/deep/d.jpg", ".hidden.png", ".cache/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def tables(tmp_path):
    """The same rows as Parquet in several row groups, as CSV and as JSON Lines."""
    rows = {"n": list(range(ROWS)), "t": [f"p{i}" for i in range(ROWS)]}
    pq.write_table(pa.table(rows), tmp_path / "in.parquet", row_group_size=700)
    (tmp_path / "in.csv").write_text("n,t\n" + "".join(f"{i},p{i}\n" for i in range(ROWS)))
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"n": i, "t": f"p{i}"}) + "\n" for i in range(ROWS)))
    return tmp_path


def keys(source):
    return [key for table in source.batches(None, ()) for key in table["key"].to_pylist()]


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ("", ["a.png", "b.png", "sub/c.png", "sub/deep/d.jpg"]),
        ("*.png", ["a.png", "b.png"]),
        ("**/*.png", ["a.png", "b.png", "sub/c.png"]),
        ("sub/*/*", ["deep/d.jpg"]),
        ("[ab].png", ["a.png", "b.png"]),
        ("a.png", ["a.png"]),
    ],
)
def test_folders_and_patterns(folder, given, want, monkeypatch):
    assert keys(Source.find(f"{folder}/{given}")) == want
    monkeypatch.chdir(folder)
    assert keys(Source.find(given or ".")) == want


def test_a_fingerprint_tells_every_change(folder):
    def look():
        return Source.find(str(folder)).fingerprint

    seen = [look()]
    assert look() == seen[0]
    for change in (
        lambda: (folder / "new.png").write_text("x"),
        lambda: (folder / "new.png").write_text("xx"),
        lambda: os.utime(folder / "new.png", ns=(1, 1)),
        lambda: (folder / "new.png").rename(folder / "newer.png"),
    ):
        change()
        seen.append(look())
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_table_is_cut_in_its_order(tables, kind):
    source = Source.find(str(tables / f"in.{kind}"))
    output = ScoreOutput(tables / "out")
    with output.claimed({}):
        assert cut_into_shards(source, "t", ["n"], output, shard_rows=900) == {"rows": ROWS, "shards": 3}
        shards = [pa.Table.from_batches(read_shard(output.shard(i))) for i in range(3)]
    assert [len(shard) for shard in shards] == [900, 900, 700]
    whole = pa.concat_tables(shards)
    assert whole.column_names == ["key", "value", "n"]
    assert whole["n"].to_pylist() == list(range(ROWS))
    assert whole["value"].to_pylist() == [f"p{i}" for i in range(ROWS)]
    assert whole["key"].to_pylist() == [f"in.{kind}:{i}" for i in range(ROWS)]


def test_several_tables_are_one_input(tmp_path):
    for name, rows in (("b", 3), ("a", 2)):
        (tmp_path / f"{name}.csv").write_text("t\n" + "".join(f"{name}{i}\n" for i in range(rows)))
    (tables,) = ([t for t in Source.find(str(tmp_path)).batches("t", ())],)
    assert [table["key"].to_pylist() for table in tables] == [["a.csv:0", "a.csv:1"], ["b.csv:0", "b.csv:1", "b.csv:2"]]


def test_numbers_of_a_csv_are_texts_too(tmp_path):
    (tmp_path / "in.csv").write_text("t,n\n" + "007,1\n" * 3)
    (table,) = Source.find(str(tmp_path / "in.csv")).batches("t", ["n"])
    assert table["value"].to_pylist() == ["007"] * 3
    assert table["n"].to_pylist() == [1] * 3


def test_an_empty_table_has_no_shards(tmp_path):
    pq.write_table(pa.table({"t": pa.array([], pa.string())}), tmp_path / "in.parquet")
    output = ScoreOutput(tmp_path / "out")
    with output.claimed({}):
        assert cut_into_shards(Source.find(str(tmp_path / "in.parquet")), "t", (), output, shard_rows=5) == {
            "rows": 0,
            "shards": 0,
        }


def test_what_is_no_input(tables):
    with pytest.raises(InvalidInputError, match="mixes csv and jsonl and parquet: name one kind"):
        Source.find(str(tables))
    for missing in ("none", "none/*.png", "none.csv"):
        with pytest.raises(InvalidInputError, match="is empty: no file is there"):
            Source.find(str(tables / missing))
    (tables / "bad.parquet").write_text("no table at all")
    with pytest.raises(InvalidInputError, match="cannot be read as parquet"):
        Source.find(str(tables / "bad.parquet")).columns()
    damaged = bytearray((tables / "in.parquet").read_bytes())
    damaged[40:4000] = bytes(3960)
    (tables / "in.parquet").write_bytes(damaged)
    with pytest.raises(InvalidInputError, match="cannot be read as parquet"):
        list(Source.find(str(tables / "in.parquet")).batches("t", ()))
