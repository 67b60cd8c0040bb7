"""A scoring job that is killed at any moment, and started again, leaves what an undisturbed one leaves."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow]

ROWS, SHARD_ROWS, KILLS = 960, 8, 20
COMMAND = Path(sys.executable).with_name("neurips16")


@pytest.fixture(scope="module")
def statements(tmp_path_factory):
    """Statements of which every 37th cannot be read."""
    path = tmp_path_factory.mktemp("input") / "statements.csv"
    texts = ["ü" if i % 37 == 5 else f"p{i}({'f(' * (i % 9)}a{')' * (i % 9)})" for i in range(ROWS)]
    path.write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(texts)))
    return path


@pytest.fixture
def start(scoring_repository, statements):
    """Start the job, with one or two workers."""
    started = []

    def start(output, workers=1):
        usual = ["--models", scoring_repository, "--column", "text", "--keep", "id", "--shard-rows", SHARD_ROWS]
        arguments = ["score", "embed", statements, output, *usual, "--workers", workers]
        started.append(
            subprocess.Popen(
                [COMMAND, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # Ignored, and inherited, where the tests run in the background of a script.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return started[-1]

    yield start
    for process in started:
        with process:  # closes its pipe, and waits
            process.kill()


def finished(process):
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()


def content(output):
    """Every file of an output, and its bytes; the lock aside."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def count(folder, pattern):
    return len(list(folder.glob(pattern)))


# A phase is where a job is when it is killed: told by what is on the disk.
PHASES = {
    "starting": lambda output, before: True,
    "claimed": lambda output, before: (output / "manifest.json").exists(),
    "cutting": lambda output, before: count(output, ".work/shard-*") > 3 or (output / ".work/cut.json").exists(),
    "cut": lambda output, before: (output / ".work/cut.json").exists(),
    "errors": lambda output, before: count(output, "errors/*") > before[1],
    "results": lambda output, before: count(output, "results/*") > before[0],
    "more results": lambda output, before: count(output, "results/*") > before[0] + 5,
    "ending": lambda output, before: count(output, "results/*") == ROWS // SHARD_ROWS,
}


def test_killed_anywhere_it_goes_on(start, tmp_path):
    finished(start(tmp_path / "undisturbed"))
    want = content(tmp_path / "undisturbed")
    assert len([name for name in want if name.startswith("results/")]) == ROWS // SHARD_ROWS
    assert any(name.startswith("errors/") for name in want)
    rng = random.Random(0)
    kills, jobs = 0, 0
    early = list(itertools.islice(itertools.cycle(PHASES), KILLS))
    while kills < KILLS:
        output = tmp_path / f"job{jobs}"
        jobs += 1
        while not (output / "summary.json").exists():
            phase = early[kills] if kills < KILLS else None
            process = start(output, workers=1 + kills % 2)
            if phase is None:
                finished(process)
                break
            before = count(output, "results/*"), count(output, "errors/*")
            while process.poll() is None and not PHASES[phase](output, before):
                time.sleep(0.001)
            time.sleep(rng.choice([0.0, 0.002, 0.02]) if phase != "starting" else rng.uniform(0, 1))
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            names = [path.name for path in (output / "results").glob("*")] if output.exists() else []
            assert all(want[f"results/{name}"] == (output / "results" / name).read_bytes() for name in names)
        finished(start(output))
        assert content(output) == want
    assert kills == KILLS


def test_a_killed_worker_ends_the_job_and_costs_a_shard(start, tmp_path):
    process = start(tmp_path / "out")
    while not count(tmp_path / "out", "results/*"):
        time.sleep(0.001)
        assert process.poll() is None
    below = psutil.Process(process.pid).children(recursive=True)
    (worker,) = (child for child in below if "daft.execution.udf_worker" in child.cmdline())
    worker.kill()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"a worker failed; what is done is kept" in said
    assert b"Traceback" not in said
    finished(start(tmp_path / "out"))
    finished(start(tmp_path / "undisturbed"))
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from neurips16.clients.protocol.errors import ScoringError
from neurips16.clients.scoring.job import score
from neurips16.clients.scoring.worker import InProcess
from neurips16.clients.tasks.embed.score import EmbedTask

def work():
    try:
        summary = score(
            EmbedTask(), sys.argv[2], sys.argv[3], host=InProcess(Path(sys.argv[1])), column="text", keep=["id"],
            shard_rows=8, workers=1, progress=lambda p: os.kill(os.getpid(), signal.SIGINT) if p.rows else None,
        )
        print(summary.rows)
    except ScoringError as error:
        print("error", error)

signal.signal(signal.SIGINT, lambda *_: None)
thread = threading.Thread(target=work)
thread.start()
while thread.is_alive():
    thread.join(0.1)
"""


def test_sigint_that_a_host_program_handles_costs_no_row(scoring_repository, statements, tmp_path):
    command = [sys.executable, "-c", SCRIPT, *map(str, (scoring_repository, statements, tmp_path / "out"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ROWS}\n", "")


def test_sigint_ends_the_command_at_once_and_it_goes_on(start, tmp_path):
    process = start(tmp_path / "out")
    while count(tmp_path / "out", "results/*") < 3:
        time.sleep(0.001)
        assert process.poll() is None
    process.send_signal(signal.SIGSTOP)  # else it may have ended before its children are listed
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode != 0
    assert b"Traceback" not in said
    assert not psutil.wait_procs(below, timeout=10)[1]
    assert not (tmp_path / "out/summary.json").exists()
    finished(start(tmp_path / "out"))


def test_workers_end_when_the_job_is_killed(start, tmp_path):
    process = start(tmp_path / "out")
    while count(tmp_path / "out", "results/*") < 3:
        time.sleep(0.001)
        assert process.poll() is None
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(below, timeout=10)[1]
