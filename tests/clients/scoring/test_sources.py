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
    assert whole["n"].to_pylist() == [str(n) if kind == "csv" else n for n in range(ROWS)]
    assert whole["value"].to_pylist() == [f"p{i}" for i in range(ROWS)]
    assert whole["key"].to_pylist() == [f"in.{kind}:{i}" for i in range(ROWS)]


def test_several_tables_are_one_input(tmp_path):
    for name, rows in (("b", 3), ("a", 2)):
        (tmp_path / f"{name}.csv").write_text("t\n" + "".join(f"{name}{i}\n" for i in range(rows)))
    (tables,) = ([t for t in Source.find(str(tmp_path)).batches("t", ())],)
    assert [table["key"].to_pylist() for table in tables] == [["a.csv:0", "a.csv:1"], ["b.csv:0", "b.csv:1", "b.csv:2"]]


def kept(given, name="id", column="t"):
    return [value for table in Source.find(str(given)).batches(column, [name]) for value in table[name].to_pylist()]


def test_fields_of_a_csv_are_kept_as_texts(tmp_path):
    fields = ["00001", "12345678901234567890123", "12345678901234567890124", "1.10", "", " x ", "true", "2024-01-01"]
    fields += ["NULL", "nan", "1e400", "+7", "0x1F", "None", "a\nb"]
    (tmp_path / "in.csv").write_text("t,id\r\n" + "".join(f'007,"{field}"\r\n' for field in fields), newline="")
    assert kept(tmp_path / "in.csv") == fields
    (table,) = Source.find(str(tmp_path / "in.csv")).batches("t", ["id"])
    assert table["value"].to_pylist() == ["007"] * len(fields)
    (tmp_path / "two.csv").write_text("\ufeffid,t\n2.5,a\n\nx7,b\n", encoding="utf-8")  # another order, a BOM
    assert kept(tmp_path / "*.csv") == [*fields, "2.5", "x7"]


def test_values_of_json_are_kept_as_they_are(tmp_path):
    def write(name, *values):
        lines = (f'{{"t": "p", "id": {value}}}' for value in values)
        (tmp_path / name).write_text("\ufeff" + "\n".join(lines) + "\n\n  \n", encoding="utf-8")

    write("a.jsonl", "1", "null", "2")
    assert kept(tmp_path / "a.jsonl") == [1, None, 2]
    write("b.jsonl", *["1"] * 1500, "2.5")  # told by all rows, not by the first
    assert kept(tmp_path / "*.jsonl")[-1] == 2.5
    write("a.jsonl", "12345678901234567890123", "12345678901234567890124", "-7")
    assert kept(tmp_path / "a.jsonl") == [12345678901234567890123, 12345678901234567890124, -7]
    write("a.jsonl", '"00001"', '"1.10"')
    assert kept(tmp_path / "a.jsonl") == ["00001", "1.10"]
    write("a.jsonl", '{"x": [1, 2]}', '{"y": true}')
    assert kept(tmp_path / "a.jsonl") == [{"x": [1, 2], "y": None}, {"x": None, "y": True}]


@pytest.mark.parametrize(
    "values",
    [
        ("1", '"x7"'),
        ("true", "1"),
        ("1", "false"),
        ("9007199254740993", "0.5"),
        ("0.1000000000000000055511151231257827021181583404541015625",),
        ("1e400",),
        ("NaN",),
        ("[1]", "1"),
        ("[1]", '["x"]'),
        ('{"a": 1}', '{"a": "1"}'),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
def test_values_of_json_that_would_change_are_refused(tmp_path, values, files):
    lines = [f'{{"t": "p", "id": {value}}}\n' for value in values]
    (tmp_path / "0.jsonl").write_text(lines[0] if files == 2 else "".join(lines))
    (tmp_path / "1.jsonl").write_text("".join(lines[1:]) if files == 2 else "")
    with pytest.raises(InvalidInputError, match=r"[01]\.jsonl.*(column 'id'|NaN)"):
        kept(tmp_path)


def test_types_of_parquet_are_kept(tmp_path):
    columns = {
        "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
        "view": pa.array(["a", None, "b"], pa.string_view()),
        "decimal": pa.array([1, 2, 3]).cast(pa.decimal128(23, 2)),
        "nanoseconds": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
        "unsigned": pa.array([0, 1, 2**64 - 1], pa.uint64()),
    }
    pq.write_table(pa.table({"t": ["p", "q", "r"], **columns}), tmp_path / "in.parquet")
    (table,) = Source.find(str(tmp_path / "in.parquet")).batches("t", list(columns))
    for name, column in columns.items():
        assert table[name].type == (pa.large_string() if name == "view" else column.type)
        assert table[name].to_pylist() == column.to_pylist()
    for name in ("dictionary", "view"):
        (table,) = Source.find(str(tmp_path / "in.parquet")).batches(name, ())
        assert table["value"].to_pylist() == columns[name].to_pylist()


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (pa.array([1], pa.int64()), pa.array([2], pa.int32()), True),
        (pa.array([1], pa.int32()), pa.array([2**40], pa.int64()), False),
        (pa.array([1], pa.int64()), pa.array([2.5]), False),
        (pa.array([1], pa.int64()), pa.array(["x7"]), False),
        (pa.array(["1"]), pa.array([7]), False),
        (pa.array(["1"]), pa.array(["x7"], pa.large_string()).dictionary_encode(), True),
        (pa.array([1.5], pa.float32()), pa.array([0.1]), False),
        (pa.array([1]), pa.array([None]), True),
    ],
)
def test_parquet_files_of_other_types(tmp_path, first, second, fits):
    for name, column in (("a", first), ("b", second)):
        pq.write_table(pa.table({"t": ["p"], "id": column}), tmp_path / f"{name}.parquet")
    if fits:
        assert kept(tmp_path) == [*first.to_pylist(), *second.to_pylist()]
    else:
        with pytest.raises(InvalidInputError, match=r"b\.parquet: the column 'id' holds .*, which does not fit in"):
            kept(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "t,id\na\n", "line 2: 1 fields, but the first line names 2"),
        ("x.csv", "t,t\na,b\n", "several columns of the name 't'"),
        ("x.csv", 't,id\n"a,b\n', "cannot be read as csv: unexpected end of data"),
        ("x.csv", b"t,id\n\xff,1\n", "cannot be read as csv: 'utf-8' codec"),
        ("x.jsonl", '{"t": "p", "id": 1}\n{"t":\n', "line 2: not one value of JSON"),
        ("x.jsonl", '{"t": "p"}\n[1]\n', "line 2: each line is an object"),
        ("x.jsonl", '{"t": ' + "[" * 100_000, "line 1: not one value of JSON"),
    ],
)
def test_tables_that_are_none(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInputError, match=message):
        kept(tmp_path)


def test_a_file_without_a_column_is_named(tmp_path):
    for kind, first, second in (("csv", "t,id\na,1\n", "t\na\n"),):
        (tmp_path / f"a.{kind}").write_text(first)
        (tmp_path / f"b.{kind}").write_text(second)
    with pytest.raises(InvalidInputError, match=r"b\.csv has no column 'id'; it has t"):
        kept(tmp_path)


def test_names_that_are_patterns_or_no_utf_8(tmp_path):
    odd = tmp_path / "a [1]*"
    odd.mkdir()
    (odd / "x[ab]?.png").write_text("1")
    assert keys(Source.find(str(odd))) == ["x[ab]?.png"]
    assert keys(Source.find(str(odd / "x[ab]?.png"))) == ["x[ab]?.png"]
    (tmp_path / os.fsdecode(b"\xe9.png")).write_text("2")
    (tables,) = Source.find(str(tmp_path)).batches(None, ())
    assert tables["key"].to_pylist() == ["a [1]*/x[ab]?.png", "\\xe9.png"]
    assert tables["value"].to_pylist()[1].endswith(b"/\xe9.png")


def test_what_is_no_file_is_passed_over_and_a_dangling_link_is_a_row(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    (tmp_path / "a.png").write_text("1")
    assert keys(Source.find(str(tmp_path))) == ["a.png", "link.png"]
    with pytest.raises(InvalidInputError, match="is empty"):
        Source.find(str(tmp_path / "fifo.png"))


def test_an_unreadable_folder_is_an_error(tmp_path, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InvalidInputError, match=r"cannot be listed: .*Permission denied"):
        Source.find(str(tmp_path))


def test_the_output_is_no_part_of_the_input(tmp_path):
    (tmp_path / "a.png").write_text("1")
    (tmp_path / "out/results").mkdir(parents=True)
    (tmp_path / "out/results/part-000000.parquet").write_text("2")
    assert keys(Source.find(str(tmp_path), but=tmp_path / "out")) == ["a.png"]


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


@pytest.mark.parametrize("kind", [pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowKeyError])
def test_whatever_arrow_raises_of_a_file_is_an_error(tmp_path, monkeypatch, kind):
    def refuse(*_, **__):
        raise kind("Integers with less than 8 bits not implemented")

    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(InvalidInputError, match=r"a\.parquet .*less than 8 bits"):
        Source.find(str(tmp_path / "a.parquet")).columns()
