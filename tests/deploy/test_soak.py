"""`make soak`, short: real load and faults on a real Triton, and that each of its gates can fail."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer

DEPLOY = Path(__file__).parents[2] / "deploy"
sys.path.insert(0, str(DEPLOY))  # for the package soak

pytest.importorskip("onnx", reason="the soak's own models are made with the export extra")
pytest.importorskip("hypothesis", reason="malformed requests are drawn by hypothesis, of the dev extra")
if importlib.util.find_spec("pytriton") is None:
    pytest.skip("nvidia-pytriton is not installed: pip install 'neurips16[serving]'", allow_module_level=True)

from soak import __main__ as soak_command  # noqa: E402
from soak import deadlines, faults, load, malformed, memory, refusals, report  # noqa: E402
from soak.findings import SHOWN, Finding  # noqa: E402
from soak.questions import Question, make_questions  # noqa: E402
from soak.repository import add_slow, add_texts, copy  # noqa: E402
from soak.traffic import StalledError  # noqa: E402

from neurips16.clients import Client  # noqa: E402
from neurips16.clients.protocol import messages  # noqa: E402
from neurips16.clients.protocol.errors import InvalidRequestError  # noqa: E402
from neurips16.serving import TritonServer  # noqa: E402
from neurips16.serving.repository import prepare, prepare_model  # noqa: E402

sys.path.remove(str(DEPLOY))  # its folders docker, helm and so on would pass for packages

MODELS = DEPLOY.parent / "serving/models"
PUBLISHED = soak_command.PUBLISHED


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return make_questions(MODELS, sizes=2)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[TritonServer]:
    """All shipped models, and those made for the soak."""
    repository = copy(MODELS, tmp_path_factory.mktemp("soaked"))
    prepare(repository)
    add_slow(repository)
    add_texts(repository)
    with TritonServer(repository, grpc_port=0, http_port=None, metrics_port=None) as running:
        yield running


@pytest.fixture(scope="module")
def following(tmp_path_factory) -> Iterator[TritonServer]:
    """One shipped model, on a server that follows its repository."""
    repository = copy(MODELS, tmp_path_factory.mktemp("followed"), [PUBLISHED])
    prepare(repository)
    options = {"model_control": "poll", "poll_s": 0.2, "before_load": prepare_model}
    with TritonServer(repository, grpc_port=0, http_port=None, metrics_port=None, **options) as running:
        yield running


def asked(questions: list[Question], model: str) -> list[Question]:
    return [question for question in questions if question.model == model]


def distorted(question: Question) -> Question:
    """The question with another answer for right."""
    (answer,) = question.answers
    return dataclasses.replace(question, answers=({name: array + 1 for name, array in answer.items()},))


@pytest.mark.triton
class TestAllModels:
    def test_mixed_load_is_answered_rightly(self, server, questions):
        samples: list[memory.Sample] = []
        finding = asyncio.run(load.mixed_load(server, questions, 200, samples))
        assert not finding.failures
        assert finding.figures["right_by_model"].keys() == {question.model for question in questions}
        assert samples[-1].resident_mb.keys() == {memory.SERVER}
        assert min(samples[-1].resident_mb.values()) > 10

    def test_a_wrong_answer_is_seen(self, server, questions):
        twisted = [*map(distorted, asked(questions, PUBLISHED))]
        finding = asyncio.run(load.mixed_load(server, twisted, SHOWN + 2, []))
        assert finding.figures["wrong"] == SHOWN + 2
        assert f"0 of {SHOWN + 2} requests were answered rightly" in finding.failures
        assert "and 2 more" in finding.failures

    def test_malformed_requests_are_refused(self, server, questions):
        finding = refusals.refuse(server, questions, 400)
        assert not finding.failures
        assert finding.figures["malformed"] == 400
        assert finding.figures["good_between"] == 20
        assert len(finding.figures["by_kind"]) > 0.8 * len(malformed.KINDS)

    def test_a_request_that_ought_to_be_refused_and_is_not_is_seen(self, server, questions, monkeypatch):
        good = malformed.Kind(malformed._unchanged)
        monkeypatch.setattr(malformed, "KINDS", {"nothing wrong with it": good})
        (failure,) = refusals.refuse(server, asked(questions, PUBLISHED), 3).failures
        assert failure.startswith("OK in place of INVALID_ARGUMENT for nothing wrong with it: ")

    def test_an_image_of_no_height_is_refused_by_name(self, server):
        with Client(server.url) as client, pytest.raises(InvalidRequestError, match=r"'image' \[1, 0, 48, 3\]"):
            client.infer("rfcn", {"image": np.zeros((1, 0, 48, 3), np.uint8)})

    def test_shapes_that_overflow_are_refused(self, server, questions):
        finding = refusals.overflow(server, questions, rounds=1)
        assert not finding.failures
        assert finding.figures["codes"] == {"INVALID_ARGUMENT": 7}

    def test_a_short_deadline_is_kept(self, server):
        assert not asyncio.run(deadlines.short_deadlines(server)).failures


@pytest.mark.triton
class TestOneModel:
    def test_a_killed_server_loses_nothing(self, following, questions):
        finding = asyncio.run(faults.kill_server(following, asked(questions, PUBLISHED)))
        assert not finding.failures
        assert finding.figures["in_flight_when_killed"] > 0

    def test_a_model_that_ends_the_server_is_left_out_and_retries_lose_nothing(self, questions, tmp_path):
        finding = soak_command.crash(questions, MODELS, tmp_path, 16)
        if "left_out" in finding.figures:
            pytest.skip(finding.figures["left_out"])
        assert not finding.failures
        assert len(finding.figures["back_s"]) == 3
        assert finding.figures["lost_with_retries"] == 0

    def test_a_new_version_fails_and_mixes_nothing(self, following, questions, tmp_path):
        finding = asyncio.run(faults.publish_version(following, asked(questions, PUBLISHED), PUBLISHED, tmp_path))
        assert not finding.failures
        assert finding.figures["answers_by_version"].keys() == {1, 2}


def test_half_of_each_version_is_no_answer(questions):
    (question, *_) = asked(questions, PUBLISHED)
    (old,) = question.answers
    new = {name: 2 * array for name, array in old.items()}
    question = dataclasses.replace(question, answers=(old, new))
    assert question.match(old)[0] == 0
    assert question.match(new)[0] == 1
    for name in old:
        place, problem = question.match({**old, name: new[name]})
        assert place == -1
        assert name in problem
    assert "there is no scores" in question.match({})[1]


def test_memory_that_grows_is_told_from_memory_that_is_flat():
    rng = np.random.default_rng(0)
    requests = np.arange(0, 100_001, 500)
    warming = 200 * (1 - np.exp(-requests / 4000))
    flat, leaking = (100 + warming + rng.normal(0, 1, requests.size) + mb * requests / 10_000 for mb in (0, 3))
    rows = zip(requests.tolist(), flat.tolist(), leaking.tolist(), strict=True)
    found = memory.trends([memory.Sample(done, {"flat": a, "leaking": b}) for done, a, b in rows])
    assert abs(found["flat"].slope_mb) < 0.3 < load.FLAT_MB
    assert found["leaking"].slope_mb == pytest.approx(3, abs=0.3)
    assert found["flat"].requests > memory.FEWEST


def test_every_kind_of_malformed_request_differs_from_the_good_one(questions):
    """In its bytes, so that what is refused is what was done to it; by every model that a kind fits."""
    from hypothesis import HealthCheck, given, settings

    from neurips16.clients.in_process import LocalClient
    from neurips16.clients.protocol.operation import single

    local = LocalClient(MODELS)
    samples = []
    for question in {question.model: question for question in reversed(questions)}.values():
        config = local.run(single(messages.model_config(question.model)))
        samples.append(malformed.Sample(question.model, config, dict(question.inputs), lambda got: ""))

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(malformed.malformed(samples))
    def check(bad):
        assert bad.message != bad.sample.request().SerializeToString()
        assert malformed.KINDS[bad.kind].fits(bad.sample)

    check()
    overflowing = {sample.model for sample in samples if malformed.overflowing(sample)}
    assert overflowing == {
        "gibbs_sampler",
        "linear_landscape",
        "premise_encoder",
        "premise_ranker",
        "rfcn",
        "simhash",
        "sound_classifier",
    }


def test_the_report_names_what_failed(tmp_path):
    samples = [memory.Sample(done, {memory.SERVER: 50.0, "m": 80.0}) for done in range(0, 50_000, 1_000)]
    bad = Finding("a fault", {"back_s": [1.5, 2.0], "by_kind": {"odd": {"OK": 1}}}, ["it was not back"])
    text = report.write_report(
        tmp_path, "make soak", [Finding("load"), bad], memory.trends(samples), samples, seconds=60
    )
    assert "| a fault | back, s: 1.5, 2.0 | **1 failures** |" in text
    assert "| by kind | |\n|---|---|\n| odd | OK 1 |" in text
    assert "FAILED a fault: it was not back" in text
    assert "| `m` | 80 | 80 | +0.00 |" in text
    assert (tmp_path / report.REPORT).read_text() == text
    assert json.loads((tmp_path / report.FIGURES).read_text())["findings"][1]["failures"] == ["it was not back"]
    assert (tmp_path / report.PICTURE).stat().st_size > 10_000


def test_a_failure_ends_the_command_with_1_after_all_scenarios(tmp_path, monkeypatch):
    def stalls(*arguments):
        raise StalledError("no answer")

    bare = contextlib.nullcontext(SimpleNamespace(models={"m"}))
    replaced = {
        "copy": lambda *_: tmp_path,
        "make_questions": lambda *_, **__: [],
        "TritonServer": lambda *_, **__: bare,
    }
    replaced |= dict.fromkeys(("prepare", "add_slow", "add_texts"), lambda *_: None)
    replaced |= {"refuse": stalls, "overflow": lambda *_: Finding("overflow")}
    for name, replacement in replaced.items():
        monkeypatch.setattr(soak_command, name, replacement)
    with pytest.raises(typer.Exit) as ended:
        soak_command.main(scenario=[soak_command.Scenario.MALFORMED], output=tmp_path / "out")
    assert ended.value.exit_code == 1
    text = (tmp_path / "out" / report.REPORT).read_text()
    assert "FAILED malformed: StalledError: no answer" in text
    assert "| overflow |  | held |" in text


def test_a_reader_that_fails_under_the_fuzzer_is_a_failure(tmp_path, monkeypatch):
    outcomes = [soak_command.Outcome("a", 5, ""), soak_command.Outcome("b", 2, "KeyError: 'x'; crash-1")]
    monkeypatch.setattr(soak_command, "fuzz", lambda *_: iter(outcomes))
    finding = soak_command.fuzz_readers(1, 1, tmp_path)
    assert finding.figures == {"a": 5, "b": 2}
    assert finding.failures == ["b: KeyError: 'x'; crash-1"]


def test_readers_of_users_files_are_fuzzed_until_they_had_enough(tmp_path, monkeypatch):
    def fuzz(seconds, output, chosen):
        return [soak_command.Outcome(name, 10, "") for name in chosen or ("other", *soak_command.USERS_FILES)]

    monkeypatch.setattr(soak_command, "fuzz", fuzz)
    finding = soak_command.fuzz_readers(1, 70, tmp_path)
    assert finding.figures == {"other": 10, **dict.fromkeys(soak_command.USERS_FILES, 20)}
    assert finding.failures == []


@pytest.mark.triton
def test_the_command_writes_its_report(tmp_path):
    copy(MODELS, tmp_path / "models", [PUBLISHED])
    command = [sys.executable, "-m", "soak", "--models", str(tmp_path / "models"), "--output", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(DEPLOY)}
    run = subprocess.run(
        [*command, "--scenario", "load", "--requests", "50"], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| held |" in (tmp_path / "out" / report.REPORT).read_text()
