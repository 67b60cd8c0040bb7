"""`make soak`: real load and real faults on a real Triton; figures, and exit status 1 when anything did not hold.

    PYTHONPATH=deploy python -m soak [--requests 100000] [--concurrency 16] [--scenario load] [--models FOLDER]

1. load: requests of mixed models and sizes, each answer held against ONNX Runtime in process; the trend of the memory;
2. kill-server: the server killed under load and started again on its port;
3. crash: a model that ends the server, until it is left out;
4. publish: a new version of a model under load;
5. malformed: requests that nobody should send; shapes that overflow 64 bits;
6. deadlines: a slow model, a short deadline;
7. fuzz: bytes that nobody should send, to each reader of foreign bytes (`make fuzz`).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from fuzz.__main__ import Outcome as Outcome
from fuzz.__main__ import fuzz
from soak.crashing import add_crashing, build_library
from soak.deadlines import short_deadlines
from soak.faults import crash_server, kill_server, publish_version
from soak.findings import Finding
from soak.load import mixed_load
from soak.memory import Sample, Trend, trends
from soak.questions import Question, make_questions
from soak.refusals import overflow, refuse
from soak.report import write_report
from soak.repository import add_slow, add_texts, copy
from soak.traffic import StalledError

from neurips16.clients.protocol.errors import ClientError
from neurips16.serving import TritonServer
from neurips16.serving.errors import ServingError
from neurips16.serving.repository import prepare, prepare_model

ROOT = Path(__file__).parents[2]
PUBLISHED = "premise_ranker"  # of several outputs, and soon computed: a mix would show
POLL_S = 0.5
USERS_FILES = ("image", "sound", "table", "tptp")  # readers of what any user may bring


class Scenario(Enum):
    """What can be run by itself."""

    LOAD = "load"
    KILL_SERVER = "kill-server"
    CRASH = "crash"
    PUBLISH = "publish"
    MALFORMED = "malformed"
    DEADLINES = "deadlines"
    FUZZ = "fuzz"


def main(
    requests: Annotated[int, typer.Option(min=1, help="Of the mixed load.")] = 100_000,
    malformed: Annotated[int, typer.Option(min=1, help="Malformed requests.")] = 10_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at the same time.")] = 16,
    fuzz_seconds: Annotated[int, typer.Option(min=1, help="Of the fuzzing, for all readers together.")] = 60,
    fuzz_cases: Annotated[int, typer.Option(min=1, help="Of the readers of users' files, at least.")] = 10_000,
    scenario: Annotated[list[Scenario] | None, typer.Option(help="Only this one. May be repeated.")] = None,
    models: Annotated[Path, typer.Option(help="The model repository, of which a copy is served.")] = ROOT
    / "serving/models",
    output: Annotated[Path, typer.Option(help="Folder of the report.")] = ROOT / "build/soak",
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
) -> None:
    """Run the scenarios one after the other; a scenario that fails does not stop the next."""
    chosen = scenario or list(Scenario)
    findings: list[Finding] = []
    samples: list[Sample] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="neurips16-soak-") as folder:
        repository = copy(models, Path(folder) / "models")
        prepare(repository)
        questions = make_questions(repository, seed=seed)
        add_slow(repository)
        add_texts(repository)
        with TritonServer(repository, grpc_port=0, http_port=None, metrics_port=None) as server:
            typer.echo(f"serving {', '.join(sorted(server.models))}")
            steps: dict[Scenario, list[Callable[[], Finding]]] = {
                Scenario.LOAD: [
                    lambda: asyncio.run(mixed_load(server, questions, requests, samples, concurrency, seed))
                ],
                Scenario.KILL_SERVER: [lambda: asyncio.run(kill_server(server, questions, concurrency))],
                Scenario.CRASH: [lambda: crash(questions, models, Path(folder), concurrency)],
                Scenario.PUBLISH: [lambda: publish(questions, models, Path(folder), concurrency)],
                Scenario.MALFORMED: [
                    lambda: refuse(server, questions, malformed, seed),
                    lambda: overflow(server, questions),
                ],
                Scenario.DEADLINES: [lambda: asyncio.run(short_deadlines(server))],
                Scenario.FUZZ: [lambda: fuzz_readers(fuzz_seconds, fuzz_cases, output / "fuzz")],
            }
            for one in chosen:
                for step in steps[one]:
                    findings.append(carefully(one, step))
    memory: dict[str, Trend] = trends(samples)
    command = " ".join(["make soak", *([f"SOAK_ARGS='{' '.join(sys.argv[1:])}'"] if sys.argv[1:] else [])])
    typer.echo(write_report(output, command, findings, memory, samples, time.monotonic() - began))
    typer.echo(f"report: {output}")
    raise typer.Exit(1 if any(finding.failures for finding in findings) else 0)


def carefully(scenario: Scenario, step: Callable[[], Finding]) -> Finding:
    """What a step finds; that it could not go on is a failure like others."""
    try:
        finding = step()
    except (StalledError, ClientError, ServingError) as error:
        finding = Finding(scenario.value, failures=[f"{type(error).__name__}: {error}"])
    typer.echo(f"{finding.scenario}: {finding.figures}")
    for failure in finding.failures:
        typer.echo(f"FAILED {failure}", err=True)
    return finding


def crash(questions: list[Question], models: Path, folder: Path, concurrency: int) -> Finding:
    """On a server of its own, which has a model that ends it."""
    library = build_library(folder)
    if library is None:
        return Finding("the server ended by a model", {"left_out": "no g++, or no headers of ONNX Runtime"})
    repository = copy(models, folder / "crashed", [PUBLISHED])
    prepare(repository)
    crashing = add_crashing(repository, library)
    asked = [question for question in questions if question.model == PUBLISHED]
    ports = {"grpc_port": 0, "http_port": None, "metrics_port": None}
    with TritonServer(repository, **ports, op_libraries=[str(library)]) as server:
        return asyncio.run(crash_server(server, asked, crashing, concurrency))


def fuzz_readers(seconds: int, cases: int, output: Path) -> Finding:
    """Hostile bytes to each reader; what one does that it must not is a failure.

    Those of `USERS_FILES` are given more, until they have had so many cases together.
    """
    finding = Finding(Scenario.FUZZ.value)
    chosen: Sequence[str] = ()
    while not finding.failures:
        for outcome in fuzz(seconds, output, chosen):
            finding.figures[outcome.reader] = finding.figures.get(outcome.reader, 0) + outcome.runs
            finding.expect(not outcome.failure, f"{outcome.reader}: {outcome.failure}")
        if sum(finding.figures.get(name, 0) for name in USERS_FILES) >= cases:
            break
        chosen = USERS_FILES
    return finding


def publish(questions: list[Question], models: Path, folder: Path, concurrency: int) -> Finding:
    """On a server of its own, which follows its repository."""
    repository = copy(models, folder / "published", [PUBLISHED])
    prepare(repository)
    asked = [question for question in questions if question.model == PUBLISHED]
    with TritonServer(
        repository,
        grpc_port=0,
        http_port=None,
        metrics_port=None,
        model_control="poll",
        poll_s=POLL_S,
        before_load=prepare_model,
    ) as server:
        return asyncio.run(publish_version(server, asked, PUBLISHED, folder / "next", concurrency))


if __name__ == "__main__":
    typer.run(main)
