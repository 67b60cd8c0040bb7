"""Scoring jobs: each task, what becomes of bad rows, and what a job may be taken up again as."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.connection import Connection
from neurips16.clients.protocol.errors import InvalidInputError, ScoringError
from neurips16.clients.scoring.job import score
from neurips16.clients.scoring.worker import InProcess, ShardOutcome, ShardWorker, ThroughServer
from neurips16.clients.tasks.classify_image.score import ClassifyImageTask
from neurips16.clients.tasks.classify_sound.calls import classify_sound
from neurips16.clients.tasks.classify_sound.score import ClassifySoundTask
from neurips16.clients.tasks.detect.calls import detect
from neurips16.clients.tasks.detect.score import DetectTask
from neurips16.clients.tasks.embed.score import EmbedTask
from neurips16.clients.tasks.rank_premises.calls import rank_premises
from neurips16.clients.tasks.rank_premises.embedding import embed
from neurips16.clients.tasks.rank_premises.premise_models import premise_models
from neurips16.clients.tasks.rank_premises.score import RankPremisesTask
from neurips16.clients.tasks.rank_premises.statements import Statement, parse_all

from ..scoring_models import LABELS, RATE, STATEMENTS, write_repository

score_module = importlib.import_module("neurips16.clients.scoring.job")


@pytest.fixture
def host(scoring_repository, monkeypatch):
    """Models in this process; and so is the one worker, in place of Daft's."""
    monkeypatch.setattr(score_module, "score_shards", lambda job, shards, **_: map(ShardWorker(job).score, shards))
    return InProcess(scoring_repository)


@pytest.fixture
def local(scoring_repository):
    return LocalClient(scoring_repository)


@pytest.fixture
def pictures(tmp_path):
    """Six pictures of three sizes in a folder and one below it."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 256, (8 + i % 3, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("more" if i > 3 else "") / f"p{i}.png")
    return folder


def read(output, which="results"):
    return pq.read_table(output / which)


def test_detection_of_a_folder(host, local, pictures, tmp_path):
    summary = score(DetectTask(min_score=0.1), str(pictures), tmp_path / "out", host=host, shard_rows=4)
    assert (summary.rows, summary.failed, summary.before) == (6, 0, 0)
    table = read(tmp_path / "out")
    assert table["key"].to_pylist() == ["more/p4.png", "more/p5.png", "p0.png", "p1.png", "p2.png", "p3.png"]
    assert str(table.schema.field("detections").type) == (
        "list<element: struct<label: string, score: float, box: struct<x0: float, y0: float, x1: float, y1: float>>>"
    )
    assert set(table["model"].to_pylist()) == {"rfcn"}
    assert set(table["model_version"].to_pylist()) == {"1"}
    for row in table.to_pylist():
        want = local.run(detect(pictures / row["key"], min_score=0.1))
        assert [(d["label"], d["score"], tuple(d["box"].values())) for d in row["detections"]] == [
            (d.label, d.score, d.box) for d in want
        ]
    assert len(list((tmp_path / "out/results").iterdir())) == 2
    assert not (tmp_path / "out/.work").exists()
    assert json.loads((tmp_path / "out/summary.json").read_text()) == {"rows": 6, "failed": 0}


def test_classes_of_images_as_paths_and_as_bytes(host, pictures, tmp_path):
    names = ["p0.png", "p1.png", "p2.png", "p3.png", "more/p4.png", "more/p5.png"]
    contents = [(pictures / name).read_bytes() for name in names]
    pq.write_table(pa.table({"name": names, "content": contents, "n": range(6)}), pictures / "all.parquet")
    (pictures / "all.jsonl").write_text(
        "".join(json.dumps({"name": name, "n": n}) + "\n" for n, name in enumerate(names))
    )
    tables = {}
    for column, file in (("name", "all.parquet"), ("content", "all.parquet"), ("name", "all.jsonl")):
        output = tmp_path / f"{column} of {file}"
        score(ClassifyImageTask("tiny_classifier"), str(pictures / file), output, host=host, column=column, keep=["n"])
        tables[output.name] = read(output)
        assert tables[output.name]["key"].to_pylist() == [f"{file}:{row}" for row in range(6)]
    first, *others = (table.drop_columns(["key"]) for table in tables.values())
    assert all(other == first for other in others)
    for row in first.to_pylist():
        means = np.asarray(Image.open(pictures / names[row["n"]]), np.float64).mean((0, 1))
        want = np.exp(means / 40) / np.exp(means / 40).sum()
        assert [c["label"] for c in row["classes"]] == [LABELS[i] for i in np.argsort(-want)]
        np.testing.assert_allclose([c["probability"] for c in row["classes"]], np.sort(want)[::-1], rtol=1e-5)


def test_sounds(host, local, tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        soundfile.write(tmp_path / f"in/{i}.wav", rng.uniform(-0.2, 0.2 + 0.2 * i, int(RATE * (0.5 + i))), RATE)
    (tmp_path / "in/silent.wav").write_bytes((tmp_path / "in/0.wav").read_bytes()[:44])
    score(ClassifySoundTask(top=2), str(tmp_path / "in/*.wav"), tmp_path / "out", host=host, max_error_share=0.5)
    for row in read(tmp_path / "out").to_pylist():
        want = local.run(classify_sound(tmp_path / "in" / row["key"], top_k=2))
        assert [c["label"] for c in row["classes"]] == [c.label for c in want]
        np.testing.assert_allclose([c["probability"] for c in row["classes"]], [c.probability for c in want], rtol=1e-6)
        assert row["duration_s"] == want.duration_s
    assert read(tmp_path / "out", "errors")["key"].to_pylist() == ["silent.wav"]


def test_embeddings(host, local, statements, tmp_path):
    task = EmbedTask("conjecture")
    score(task, str(statements), tmp_path / "out", host=host, column="text", keep=["id"], shard_rows=50)
    table = read(tmp_path / "out")
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[4]"
    assert table["id"].to_pylist() == [f"s{i}" for i in range(len(STATEMENTS))]

    def direct():
        return (yield from embed((yield from premise_models()), "conjecture", parse_all(STATEMENTS)))

    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), local.run(direct()), rtol=1e-6)
    assert not any(table["truncated"].to_pylist())


def test_premises_for_each_conjecture(host, local, statements, tmp_path):
    (tmp_path / "library.p").write_text("\n".join(STATEMENTS[::3]))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/one.p").write_text(f"% a comment\nfof(one, conjecture, {STATEMENTS[1]}).\n")
    (tmp_path / "in/long.p").write_text(" & ".join(["p(a)"] * 40))
    task = RankPremisesTask(tmp_path / "library.p", top=3)
    score(task, str(tmp_path / "in"), tmp_path / "out", host=host)
    long, one = read(tmp_path / "out").to_pylist()
    want = local.run(rank_premises(STATEMENTS[1], parse_all(STATEMENTS[::3]), top_k=3))
    assert [(p["rank"], p["index"], p["text"]) for p in one["premises"]] == [(p.rank, p.index, p.text) for p in want]
    np.testing.assert_allclose([p["score"] for p in one["premises"]], [p.score for p in want], rtol=1e-5)
    assert (long["truncated"], one["truncated"]) == (True, False)
    (tmp_path / "library.p").write_text("\n".join(STATEMENTS[::2]))
    with pytest.raises(InvalidInputError, match=r"whose options were .*, not "):
        score(task, str(tmp_path / "in"), tmp_path / "out", host=host)


def test_through_a_server_it_is_the_same_with_bounded_requests(host, scoring_server, statements, pictures, tmp_path):
    server = ThroughServer(Connection.of(scoring_server.url))
    scoring_server.delay_s = 0.05
    for task, source, options in (
        (EmbedTask(), statements, {"column": "text"}),
        (DetectTask(), pictures, {}),
    ):
        for name, where in (("local", host), ("server", server)):
            score(task, str(source), tmp_path / task.name / name, host=where, in_flight=3, **options)
        assert read(tmp_path / task.name / "local") == read(tmp_path / task.name / "server")
    assert 1 < scoring_server.most_flying <= 3
    assert scoring_server.versions == {"1"}


def test_a_bad_row_is_told_and_its_neighbours_are_scored(host, tmp_path):
    texts = [*STATEMENTS]
    texts[3], texts[40], texts[41] = "ü(x)", None, "  "
    pq.write_table(pa.table({"t": texts, "kept": range(70)}), tmp_path / "in.parquet")
    usual = {"host": host, "column": "t", "keep": ["kept"], "shard_rows": 30}
    summary = score(EmbedTask(), str(tmp_path / "in.parquet"), tmp_path / "out", **usual)
    assert (summary.rows, summary.failed) == (70, 3)
    errors = read(tmp_path / "out", "errors").to_pylist()
    assert [(e["key"], e["kept"]) for e in errors] == [(f"in.parquet:{i}", i) for i in (3, 40, 41)]
    assert [e["error"] for e in errors] == ["InvalidStatementError", "InvalidInputError", "InvalidStatementError"]
    for error, reason in zip(
        errors, ("the character 'ü' (U+00FC) is none of TPTP's", "no value", "empty"), strict=True
    ):
        assert reason in error["reason"]
    assert read(tmp_path / "out")["kept"].to_pylist() == [i for i in range(70) if i not in (3, 40, 41)]
    assert sorted(path.name for path in (tmp_path / "out/errors").iterdir()) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]


def test_damaged_files_are_rows_too(host, pictures, tmp_path):
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "cut.png").write_bytes((pictures / "p0.png").read_bytes()[:60])
    (pictures / "text.jpg").write_text("hello")
    pq.write_table(
        pa.table({"path": ["p0.png", "not there.png", str(pictures / "p1.png")]}), tmp_path / "pictures/t.parquet"
    )
    summary = score(DetectTask(), f"{pictures}/*.[pj]*g", tmp_path / "out", host=host, max_error_share=0.5)
    assert (summary.rows, summary.failed) == (7, 3)
    assert {e["error"] for e in read(tmp_path / "out", "errors").to_pylist()} == {"InvalidImageError"}
    summary = score(DetectTask(), f"{pictures}/t.parquet", tmp_path / "other", host=host, max_error_share=0.5)
    (error,) = read(tmp_path / "other", "errors").to_pylist()
    assert error["key"] == "t.parquet:1"
    assert "does not exist" in error["reason"]


def test_too_many_failures_end_the_job_and_more_may_be_allowed_later(host, tmp_path):
    pq.write_table(pa.table({"t": ["ü"] * 3 + STATEMENTS[:7]}), tmp_path / "in.parquet")
    usual = {"host": host, "shard_rows": 2}
    with pytest.raises(ScoringError, match=r"2 of 10 rows have failed, more than the share of 0\.1"):
        score(EmbedTask(), str(tmp_path / "in.parquet"), tmp_path / "out", **usual, max_error_share=0.1)
    assert len(list((tmp_path / "out/results").iterdir())) == 1
    summary = score(EmbedTask(), str(tmp_path / "in.parquet"), tmp_path / "out", **usual, max_error_share=0.3)
    assert (summary.rows, summary.failed, summary.before) == (10, 3, 2)
    with pytest.raises(ScoringError, match="3 of 10 rows have failed"):
        score(EmbedTask(), str(tmp_path / "in.parquet"), tmp_path / "out", **usual, max_error_share=0.1)


def test_a_server_that_goes_away_loses_nothing(host, scoring_server, statements, tmp_path):
    usual = {"column": "text", "shard_rows": 20, "host": ThroughServer(Connection.of(scoring_server.url))}
    scoring_server.fail_after = 4
    with pytest.raises(ScoringError, match=r"unloaded.*of 70 rows are done: run this again"):
        score(EmbedTask(), str(statements), tmp_path / "out", **usual)
    done = len(list((tmp_path / "out/results").iterdir()))
    assert 0 < done < 4
    assert not list((tmp_path / "out/errors").iterdir())
    scoring_server.fail_after = 10**9
    summary = score(EmbedTask(), str(statements), tmp_path / "out", **usual)
    assert (summary.rows, summary.failed, summary.before) == (70, 0, 20 * done)
    score(EmbedTask(), str(statements), tmp_path / "whole", **usual)
    assert read(tmp_path / "out") == read(tmp_path / "whole")


def test_an_engine_that_ends_early_has_not_finished_the_job(host, statements, tmp_path, monkeypatch):
    """Daft's iteration, broken off by a signal, ends like one that is through."""
    usual = {"host": host, "column": "text", "shard_rows": 10}
    whole = score_module.score_shards
    for done in (0, 3):
        monkeypatch.setattr(score_module, "score_shards", lambda job, shards, n=done, **_: list(whole(job, shards[:n])))
        with pytest.raises(ScoringError, match=rf"broken off: {10 * done} of 70 rows are done: run this again"):
            score(EmbedTask(), str(statements), tmp_path / "out", **usual)
        assert not (tmp_path / "out/summary.json").exists()
    monkeypatch.setattr(score_module, "score_shards", whole)
    summary = score(EmbedTask(), str(statements), tmp_path / "out", **usual)
    assert (summary.rows, summary.failed, summary.before) == (70, 0, 30)
    assert read(tmp_path / "out").num_rows == 70


def test_an_engine_that_says_more_than_is_there(host, statements, tmp_path, monkeypatch):
    outcomes = [ShardOutcome(shard, 10) for shard in range(7)]
    monkeypatch.setattr(score_module, "score_shards", lambda *_, **__: outcomes)
    with pytest.raises(ScoringError, match="broken off: 0 of 70 rows are done"):
        score(EmbedTask(), str(statements), tmp_path / "out", host=host, column="text", shard_rows=10)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("when", ["cut", "scored"])
def test_a_full_disk_ends_the_job_with_one_line_and_it_goes_on(host, tmp_path, monkeypatch, suffix, when):
    table = pa.table({"text": STATEMENTS[:20]})
    if suffix == "parquet":
        pq.write_table(table, tmp_path / "in.parquet")
    elif suffix == "csv":
        pyarrow.csv.write_csv(table, tmp_path / "in.csv")
    else:
        (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    given, output = str(tmp_path / f"in.{suffix}"), tmp_path / "out"
    usual = {"host": host, "column": "text", "shard_rows": 5}
    name, sync = ("shard-000002" if when == "cut" else "part-000002"), os.fsync

    def full(handle):
        if name in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ScoringError, match=rf"{name}.parquet cannot be written: No space left on device") as caught:
        score(EmbedTask(), given, output, **usual)
    assert "\n" not in str(caught.value)
    assert not list((output / ".work").glob("*.part"))
    monkeypatch.setattr(os, "fsync", sync)
    assert score(EmbedTask(), given, output, **usual).rows == 20
    assert read(output).num_rows == 20


def test_a_file_system_without_locks(host, statements, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InvalidInputError, match=r"cannot lock files \(No locks available\)"):
        score(EmbedTask(), str(statements), tmp_path / "out", host=host, column="text")


def test_names_that_are_no_utf_8_are_scored(host, pictures, tmp_path):
    (pictures / "p0.png").rename(pictures / os.fsdecode(b"caf\xe9.png"))
    (pictures / os.fsdecode(b"bad\xe9.png")).write_text("no image")
    summary = score(DetectTask(), str(pictures), tmp_path / "out", host=host, max_error_share=0.5)
    assert (summary.rows, summary.failed) == (7, 1)
    assert r"caf\xe9.png" in read(tmp_path / "out")["key"].to_pylist()
    (error,) = read(tmp_path / "out", "errors").to_pylist()
    assert error["key"] == r"bad\xe9.png"
    assert "is no image" in error["reason"]
    folder = pictures.rename(tmp_path / os.fsdecode(b"\xe9"))  # and the folder's own, which stands in the manifest
    for _ in range(2):
        assert score(DetectTask(), str(folder), tmp_path / "two", host=host, max_error_share=0.5).rows == 7


def test_an_output_inside_the_input(host, pictures):
    for _ in range(2):
        assert score(DetectTask(), str(pictures), pictures / "out", host=host).rows == 6
    (pictures / "out/summary.json").unlink()
    assert score(DetectTask(), str(pictures), pictures / "out", host=host, shard_rows=256).rows == 6


def test_dictionaries_and_views_are_kept_and_scored(host, tmp_path):
    columns = {
        "t": pa.array([*STATEMENTS[:3], "ü"], pa.string_view()),
        "d": pa.array(["a", "b", "a", "c"]).dictionary_encode(),
        "v": pa.array(["001", None, "x", "y"], pa.string_view()),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    usual = {"host": host, "column": "t", "keep": ["d", "v"], "shard_rows": 2, "max_error_share": 0.5}
    assert score(EmbedTask(), str(tmp_path / "in.parquet"), tmp_path / "out", **usual).failed == 1
    assert read(tmp_path / "out").select(["d", "v"]).to_pylist() == [
        {"d": "a", "v": "001"},
        {"d": "b", "v": None},
        {"d": "a", "v": "x"},
    ]


def test_a_finished_job_is_not_done_again(host, statements, tmp_path, monkeypatch):
    usual = {"host": host, "column": "text"}
    first = score(EmbedTask(), str(statements), tmp_path / "out", **usual)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    monkeypatch.setattr(score_module, "cut_into_shards", None)
    again = score(EmbedTask(), str(statements), tmp_path / "out", **usual)
    assert (again.rows, again.failed, again.before) == (first.rows, 0, first.rows)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}


def test_an_output_belongs_to_one_job(host, statements, tmp_path, scoring_server):
    output = tmp_path / "out"
    usual = {"host": host, "column": "text"}
    score(EmbedTask(), str(statements), output, **usual)
    other = write_repository(tmp_path / "models")
    encoder = other / "premise_encoder/1/model.onnx"
    encoder.parent.rename(encoder.parents[1] / "2")
    server = ThroughServer(Connection.of(scoring_server.url))
    for task, changes, named in (
        (EmbedTask("conjecture"), {}, "options"),
        (RankPremisesTask(statements), {}, "models|options|task"),
        (EmbedTask(), {"keep": ["id"]}, "keep"),
        (EmbedTask(), {"column": "id"}, "column"),
        (EmbedTask(), {"shard_rows": 3}, "shard_rows"),
        (EmbedTask(), {"host": InProcess(other)}, "models"),
        (EmbedTask(), {"host": server}, "models"),
    ):
        with pytest.raises(
            InvalidInputError, match=rf"is the output of another job, whose ({named}) (was|were) "
        ) as caught:
            score(task, str(statements), output, **{**usual, **changes})
        assert "\n" not in str(caught.value)
    os.utime(statements, ns=(1, 1))
    with pytest.raises(InvalidInputError, match="whose input was"):
        score(EmbedTask(), str(statements), output, **usual)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="not empty and not the output"):
        score(EmbedTask(), str(statements), tmp_path / "home", **usual)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]


def test_one_process_at_a_time(host, statements, tmp_path, monkeypatch):
    usual = {"host": host, "column": "text"}

    def meanwhile(job, shards, **_):
        with pytest.raises(InvalidInputError, match="another process is writing"):
            score(EmbedTask(), str(statements), tmp_path / "out", **usual)
        return map(ShardWorker(job).score, shards)

    monkeypatch.setattr(score_module, "score_shards", meanwhile)
    assert score(EmbedTask(), str(statements), tmp_path / "out", **usual).rows == 70


@pytest.mark.parametrize(
    ("task", "source", "options", "message"),
    [
        (EmbedTask(), "statements.csv", {}, "columns id, text: say with --column"),
        (EmbedTask(), "statements.csv", {"column": "texts"}, "columns id, text, but not texts"),
        (EmbedTask(), "statements.csv", {"column": "text", "keep": ["key"]}, "but not key"),
        (DetectTask(), "pictures", {"column": "path"}, "holds files and no table, so there is no column 'path'"),
        (DetectTask(), "nothing", {}, "is empty: no file is there"),
        (EmbedTask(), "numbers.parquet", {"column": "n"}, "holds int64, expected texts or bytes"),
        (EmbedTask(), "numbers.parquet", {"column": "t", "keep": ["model"]}, "has a column 'model' already"),
        (EmbedTask(), "numbers.parquet", {"column": "t", "keep": ["embedding"]}, "has a column 'embedding' already"),
        (EmbedTask(), "numbers.parquet", {"column": "t", "keep": ["n", "n"]}, "has a column 'n' already"),
        (DetectTask("tiny_classifier"), "pictures", {"in_flight": 0}, "at least 1"),
        (RankPremisesTask(Path("none.p")), "statements.csv", {"column": "text"}, "none.p cannot be read"),
    ],
)
def test_what_cannot_be_done(host, statements, pictures, tmp_path, monkeypatch, task, source, options, message):
    monkeypatch.chdir(tmp_path)
    columns = {"n": range(3), "t": STATEMENTS[:3], "model": STATEMENTS[:3], "embedding": STATEMENTS[:3]}
    pq.write_table(pa.table(columns), "numbers.parquet")
    with pytest.raises(InvalidInputError, match=message):
        score(task, source, tmp_path / "out", host=host, **options)
    assert not (tmp_path / "out").exists()


def test_an_output_on_object_storage_is_refused(host, statements):
    with pytest.raises(InvalidInputError, match="object storage cannot"):
        score(EmbedTask(), str(statements), "s3://bucket/out", host=host, column="text")


def test_statements_keep_their_places_in_a_group():
    statement = Statement.parse("p(a)", index=7)
    assert parse_all([statement])[0].index == 7
