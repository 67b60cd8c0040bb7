"""What the README shows is run, against the shipped models on a real Triton."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neurips16.clients.tasks import found_tasks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("pytriton", reason="the Triton binary is in the serving extra")
    from neurips16.serving import TritonServer

    with TritonServer(ROOT / "serving/models", grpc_port=0, http_port=None, metrics_port=None) as running:
        yield running


@pytest.mark.triton
@pytest.mark.slow
def test_the_shell_commands_run(server, tmp_path):
    (block,) = _blocks("sh")
    commands = [line.split("#")[0].strip() for line in block.splitlines()]
    ours = [c for c in commands if not c.startswith("neurips16 serve")]
    assert len(ours) == len(commands) - 1 == 11
    environment = {**os.environ, "NEURIPS16_URL": server.url, "PATH": f"{BIN}:{os.environ['PATH']}"}
    for command in ours:
        command = command.replace("clients/tasks", str(ROOT / "clients/tasks"))
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip()


@pytest.mark.triton
@pytest.mark.slow
def test_the_python_example_runs(server):
    (block,) = _blocks("python")
    code = block.replace("localhost:8001", server.url)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["1", "2"]
    assert len(lines) >= 4


def test_every_path_and_command_that_it_names_exists():
    for path in re.findall(r"(?:deploy|serving|training|export|clients)/[\w./-]+", README):
        if "SYSTEM" not in path and "OP" not in path:
            assert (ROOT / path).exists(), path
    entry_points = re.search(r'"neurips16\.commands"\]\n(.*?)\n\n', (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]
    commands = set(re.findall(r"^([\w-]+) =", entry_points, re.MULTILINE))
    commands |= {name for task in found_tasks() for name in task.command}
    named = set(re.findall(r"neurips16 ([a-z][\w-]+)", README))
    assert named <= commands
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
