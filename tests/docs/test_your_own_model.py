"""The page "your own model": its package is installed, and its commands are run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/your-own-model.md").read_text("utf-8")
PACKAGE = Path(__file__).parent / "stripes"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment's variables with the package installed, in a folder of its own."""
    source, site = tmp_path_factory.mktemp("source") / "stripes", tmp_path_factory.mktemp("site")
    subprocess.run(["cp", "-r", str(PACKAGE), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(site), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": str(site), "PATH": f"{BIN}:{os.environ['PATH']}"}


def commands() -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_is_followed_to_its_end(environment, tmp_path) -> None:
    pytest.importorskip("pytriton", reason="the Triton binary is in the serving extra")
    from neurips16.serving import TritonServer
    from neurips16.serving.repository import prepare

    said: dict[str, str] = {}
    server = None
    try:
        for command in commands():
            if command.startswith("pip install"):
                continue  # the fixture has done it
            if command.startswith("neurips16 serve"):
                prepare(tmp_path / "models")
                server = TritonServer(tmp_path / "models", grpc_port=0, metrics_port=None)
                server.__enter__()
                environment["NEURIPS16_URL"] = server.url
                continue
            done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            said[shlex.split(command)[1]] = done.stdout
    finally:
        if server is not None:
            server.__exit__(None, None, None)
    assert "published" in said["export"]
    assert re.search(r"accuracy +(0\.9|1\.0)", said["evaluate"])
    assert re.search(r"\bdown\b", said["classify-image"])
    assert said["name-stripes"].endswith(": down\n")
    assert said["-c"] == "across\n"
    assert "120 scored, 0 failed" in said["score"]


def test_the_task_is_everywhere_and_nothing_of_ours_was_edited(environment) -> None:
    """In the help text, among the methods of the clients, in `score` and on the page."""
    code = (
        "from neurips16.clients import AsyncClient, Client\n"
        "from neurips16.clients.in_process import LocalClient\n"
        "from neurips16.clients.tasks import found_tasks\n"
        "assert all('name_stripes' in dir(client) for client in (Client, AsyncClient, LocalClient))\n"
        "(task,) = (task for task in found_tasks() if task.name == 'name_stripes')\n"
        "print(task.load(task.tab['name-stripes']).title, task.load(task.score['name-stripes']).name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "Stripes name-stripes\n", done.stderr
    for words in ((), ("score",)):
        done = subprocess.run(
            [str(BIN / "neurips16"), *words, "--help"], env=environment, capture_output=True, text=True, check=False
        )
        assert "name-stripes" in done.stdout, words
