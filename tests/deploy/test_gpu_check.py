"""`make gpu-check`, walked on the CPU as far as a machine without a GPU allows."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurips16.export.spec import read_spec

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/gpu/check.py"
MODELS = sorted((ROOT / "serving/models").glob("*/*/model.onnx"))


@pytest.fixture(scope="module")
def check():
    found = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    yield module
    del sys.modules[found.name]


@pytest.mark.triton
@pytest.mark.slow
def test_every_shipped_model_is_walked_through_and_reported(tmp_path) -> None:
    command = [sys.executable, str(SCRIPT), "--provider", "cpu", "--seconds", "0.05", "--report", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (report,) = tmp_path.glob("*-cpu.md")
    rows = [line for line in report.read_text().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [path.parents[1].name for path in MODELS]


def test_a_model_that_answers_otherwise_fails_the_check(check) -> None:
    spec = read_spec(MODELS[0])
    said = check.Report()
    right = [{tensor.name: np.ones((2, 3), np.float32) for tensor in spec.outputs}]
    assert check.difference("m", "in process", spec, right, right, said) == 0
    assert not said.failures
    check.difference("m", "in process", spec, [{name: value + 100 for name, value in right[0].items()}], right, said)
    assert len(said.failures) == len(spec.outputs)


def test_without_a_gpu_it_says_so_and_fails(monkeypatch, check, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="no NVIDIA GPU here, so nothing was checked"):
        check.gpu_name()
