"""`neurips16 score` as people run it: what it prints, how it exits, and how it shows progress."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from neurips16.clients.scoring import command as score_command
from neurips16.clients.scoring.job import Progress

from ..scoring_models import STATEMENTS


def run_score(*arguments):
    """Run `neurips16 score …` in a process of its own, with Daft's workers below it: (exit status, stdout, stderr).

    Of stderr without the progress, which a slow machine has time to print.
    """
    command = Path(sys.executable).with_name("neurips16")
    done = subprocess.run([command, "score", *map(str, arguments)], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines(keepends=True) if not line.endswith(" s left\n")]
    return done.returncode, done.stdout, "".join(errors)


def test_the_command(scoring_repository, statements, tmp_path):
    """With workers of their own, as people use it."""
    usual = ["embed", statements, tmp_path / "out", "--models", scoring_repository, "--column", "text"]
    status, out, err = run_score(*usual, "--keep", "id", "--workers", 2, "--shard-rows", 20)
    assert (status, err) == (0, "")
    assert out.startswith("70 rows: 70 scored, 0 failed; 70 in this run, ")
    assert out.splitlines()[1] == f"results: {tmp_path}/out/results"
    assert pq.read_table(tmp_path / "out/results")["id"].to_pylist() == [f"s{i}" for i in range(70)]
    status, out, err = run_score(*usual, "--shard-rows", 20)
    assert (status, out) == (2, "")
    assert err == (
        f'error: {tmp_path}/out is the output of another job, whose keep was ["id"], not []: name another folder\n'
    )


def test_the_command_tells_by_its_status_how_it_went(scoring_repository, tmp_path):
    pq.write_table(pa.table({"t": ["ü", *STATEMENTS[:3]]}), tmp_path / "in.parquet")
    usual = ["embed", tmp_path / "in.parquet", tmp_path / "out", "--models", scoring_repository, "--workers", 1]
    status, out, err = run_score(*usual)
    assert (status, out) == (1, "")
    assert err.startswith("error: 1 of 4 rows have failed, more than the share of 0.05")
    status, out, err = run_score(*usual, "--max-error-share", 0.25)
    assert (status, err) == (0, "")
    assert out.startswith("4 rows: 3 scored, 1 failed; 0 in this run")
    status, out, err = run_score("embed", tmp_path / "none", tmp_path / "other", "--models", scoring_repository)
    assert (status, out, err) == (2, "", f"error: the input {tmp_path}/none is empty: no file is there\n")


def test_a_model_that_dies_for_a_moment_costs_no_row(scoring_server, statements, tmp_path):
    scoring_server.dead = 3
    usual = ["embed", statements, tmp_path / "out", "--column", "text"]
    status, out, err = run_score(*usual, "--url", scoring_server.url)
    assert (status, err) == (0, "")
    assert out.startswith("70 rows: 70 scored, 0 failed;")
    assert scoring_server.dead == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "--min-score", 0.1], "No such option: --min-score"),
        (["rank-premises"], "Missing option '--premises'"),
        (["classify-image"], "Missing option '--model'"),
        (["detect", "--min-score", 2], "min_score is a probability"),
        (["embed", "--models", ".", "--url", "localhost:1"], "give one of them"),
    ],
)
def test_options_that_do_not_fit(run_command, tmp_path, arguments, message):
    task, *rest = arguments
    status, out, err = run_command("score", task, tmp_path, tmp_path / "out", *rest)
    assert (status, out) == (2, "")
    assert message in err


def test_without_a_terminal_progress_is_a_line_from_time_to_time(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 10.0, 20.0, 45.0, 50.0])  # made, first shown, then each time that it is shown
    monkeypatch.setattr(score_command, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with score_command._Bar() as bar:
        for rows in (100, 200, 800, 900):
            bar.show(Progress(rows, 3, 1500, 100))
    assert capsys.readouterr().err == "800 of 1,500 rows, 3 failed, 20.0 a second, 35 s left\n"
