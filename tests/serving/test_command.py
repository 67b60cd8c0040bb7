"""`neurips16 serve` and `neurips16 doctor`, as a user runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from serving_tools import eventually, infer, times

from neurips16.export.spec import ModelSpec, TensorSpec, Tolerance, embed_spec

pytestmark = pytest.mark.triton

FREE = ["--grpc-port", "0", "--metrics-port", "0"]


def publish(repository: Path, version: int, factor: float) -> None:
    """A model with its specification, as `neurips16 export` leaves it: without a config.pbtxt."""
    spec = ModelSpec(
        name="scaled",
        system="none",
        summary="y is x times a factor.",
        inputs=(TensorSpec("x", "FP32", ("N", "L"), "anything"),),
        outputs=(TensorSpec("y", "FP32", ("N", "L"), "the product", tolerance=Tolerance(0, 0, "one product")),),
        max_batch_size=8,
        opset=17,
        ir_version=8,
        paper="none",
    )
    model = times(factor)
    embed_spec(model, spec)
    folder = repository / "scaled" / str(version)
    staged = repository / "scaled" / f".{version}"
    staged.mkdir(parents=True)
    onnx.save(model, staged / "model.onnx")
    staged.rename(folder)


@pytest.fixture
def repository(tmp_path) -> Path:
    publish(tmp_path / "models", 1, 2)
    return tmp_path / "models"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from neurips16.clients.command import main; main()", *arguments]


class Serving:
    """A running `neurips16 serve`."""

    def __init__(self, *arguments: str):
        self.process = subprocess.Popen(command("serve", *arguments), stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            ready = re.search(r"ready: (.*) at (\S+) \(gRPC\)", line)
            if ready:
                self.models, self.url = ready[1], ready[2]
                break
        else:
            raise AssertionError("".join(self.lines))
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.lines += self.process.stderr.readlines()
        return self.process.wait(30)


@pytest.fixture
def serving(needs_triton, repository, request) -> Iterator[Serving]:
    running = Serving(str(repository), *FREE, *getattr(request, "param", []))
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGTERM)
    running.process.stderr.close()


def ask(url: str, **options) -> np.ndarray:
    import tritonclient.grpc as grpc_client

    with grpc_client.InferenceServerClient(url) as client:
        return infer(client, "scaled", {"x": np.ones((1, 2), np.float32)}, **options)["y"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_when_it_is_ready_and_ends_in_order(serving, number):
    assert serving.models == "scaled"
    assert serving.url.startswith("127.0.0.1:")
    assert re.search(r" \(gRPC\), 127\.0\.0\.1:\d+ \(metrics\); admin token in ", serving.lines[-1])
    np.testing.assert_array_equal(ask(serving.url), [[2, 2]])
    (server,) = serving.family
    token = Path(re.search(r"admin token in (\S+);", serving.lines[-1])[1])
    assert token.exists()
    assert serving.end(number) == 0
    assert not server.is_running()
    assert not token.parent.exists()
    # Nothing needed attention, so nothing but these was said.
    assert len(serving.lines) == 2, serving.lines
    assert serving.lines[-1].endswith("stopped\n")


@pytest.mark.parametrize("serving", [["--model-control", "poll"]], indirect=True)
def test_a_version_published_while_it_serves_is_served(serving, repository):
    np.testing.assert_array_equal(ask(serving.url), [[2, 2]])
    publish(repository, 2, 3)
    assert eventually(lambda: np.array_equal(ask(serving.url), [[3, 3]]))


def test_a_server_that_ends_by_itself_is_started_again(serving):
    (server,) = serving.family
    server.kill()
    for line in serving.process.stderr:
        serving.lines.append(line)
        if "answers again, with scaled" in line:
            break
    assert "Triton ended by itself with status -9" in "".join(serving.lines)
    np.testing.assert_array_equal(ask(serving.url), [[2, 2]])  # at the same port
    assert not server.is_running()


def test_threads_follow_a_containers_quota(needs_triton, repository, half_a_core):
    joined = f'echo $$ > {half_a_core}/cgroup.procs; exec "$@"'
    start = ["sh", "-c", joined, "sh", *command("serve", str(repository), *FREE, "--verbose")]
    with subprocess.Popen(start, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if " ready: " in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert "a pool of 1 threads for all models" in "".join(lines)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def assert_one_line(run_: subprocess.CompletedProcess, status: int, *words: str) -> None:
    assert run_.returncode == status, run_.stderr
    assert run_.stderr.startswith("error: ")
    assert run_.stderr.count("\n") == 1, run_.stderr
    for word in words:
        assert word in run_.stderr


def test_a_missing_repository_is_one_line(tmp_path):
    assert_one_line(run("serve", str(tmp_path / "absent")), 2, "absent", "is no folder")


def test_a_model_that_is_not_there_is_one_line(repository):
    assert_one_line(run("serve", str(repository), *FREE, "--model", "other"), 2, "no model 'other'")


def test_doctor_serves_a_model_where_all_is_well(needs_triton):
    done = run("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "answered rightly" in done.stdout


def test_doctor_fails_where_serving_cannot_work():
    done = run("doctor", NEURIPS16_BACKEND_LIBRARY="/nowhere/lib.so")
    assert done.returncode == 1
    assert "FAILED backend: NEURIPS16_BACKEND_LIBRARY names /nowhere/lib.so" in done.stdout
    assert "op library" in done.stdout  # it goes on to the other parts
