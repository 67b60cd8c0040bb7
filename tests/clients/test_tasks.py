"""Tasks bring themselves: what a manifest names is on the clients, the command line, the page and in `score`."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from neurips16.clients import AsyncClient, Client
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol.errors import TaskError
from neurips16.clients.tasks import Task, check_tasks, found_tasks

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy_task"  # a package of somebody else's, as pip would lay it out
CALLS = {name: (task, reference) for task in found_tasks() for name, reference in task.calls.items()}
needs_page = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the page extra")


def run(*command, cwd=None):
    environment = {**os.environ, "PYTHONPATH": str(TOY), "COLUMNS": "200"}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def neurips16(*arguments):
    return run(Path(sys.executable).with_name("neurips16"), *arguments)


def test_the_root_of_the_room_stays_small():
    files = [path for path in (ROOT / "clients").iterdir() if path.is_file()]
    assert len(files) <= 10, sorted(path.name for path in files)


def test_a_task_of_another_package_is_a_command_and_scored(scoring_repository, tmp_path):
    shown = neurips16("--help")
    assert "spell-text" in shown
    assert "Toys" in shown
    assert neurips16("spell-text", "abc") == "a\nb\nc\na-b-c\n"
    assert "Texts, spelt." in neurips16("score", "--help")
    assert "--separator" in neurips16("score", "spell", "--help")
    (tmp_path / "texts.csv").write_text("text\nab\ncde\n")
    usual = ["--models", scoring_repository, "--workers", 1, "--separator", "+"]
    neurips16("score", "spell", tmp_path / "texts.csv", tmp_path / "out", *usual)
    assert pq.read_table(tmp_path / "out/results")["spelt"].to_pylist() == ["a+b", "c+d+e"]


def test_a_task_of_another_package_is_a_method_of_all_clients(scoring_repository):
    code = """
import asyncio, inspect, sys
from neurips16.clients import AsyncClient, Client, LocalClient
for kind in (Client, AsyncClient, LocalClient):
    assert "spell" in dir(kind), kind
    assert str(inspect.signature(kind.spell)) == (
        "(self, text: 'str', *, separator: 'str' = '-', timeout_s: 'float | None' = None) -> 'str'")
    assert kind.spell.__doc__.startswith("Emits each letter")
assert LocalClient(sys.argv[1]).spell("abc") == "a-b-c"
with Client("localhost:1") as client:
    assert client.spell("abc", separator=" ") == "a b c"
assert asyncio.run(AsyncClient("localhost:1").spell("ab")) == "a-b"
"""
    run(sys.executable, "-W", "error", "-c", code, scoring_repository)


@needs_page
def test_a_task_of_another_package_is_on_the_page():
    code = "from neurips16.clients.page.app import places; print(*(place.address for place in places()))"
    assert "spell" in run(sys.executable, "-c", code).split()


def test_a_broken_task_is_named_in_one_line(tmp_path):
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[neurips16.tasks]\nnothing = no_such_package:TASK\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("neurips16")), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the task 'nothing' (no_such_package:TASK) cannot be loaded: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["calls", "command", "tab", "score"])
def test_a_name_is_used_once(kind):
    one = Task("one", "", "", **{kind: {"same": "a:b"}}, package="ours")
    with pytest.raises(TaskError, match=r"'same' is in ours and in theirs"):
        check_tasks([one, replace(one, name="two", package="theirs")])
    with pytest.raises(TaskError, match="the task 'one' is in ours and in theirs"):
        check_tasks([one, replace(one, **{kind: {}}, package="theirs")])


def test_a_call_cannot_take_the_place_of_what_a_client_has(monkeypatch):
    import neurips16.clients.calls as calls

    monkeypatch.setattr(calls, "found_tasks", lambda: [Task("bad", "", "", calls={"run": "a:b"}, package="theirs")])
    with pytest.raises(TaskError, match="'bad' of theirs adds a call 'run', which clients have"):

        class _Client(calls.TaskCalls):
            def run(self):
                pass


def test_all_that_the_manifests_name_is_there():
    commands = {entry.name for entry in entry_points(group="neurips16.commands")}
    commands |= {name for task in found_tasks() for name in task.command}
    for task in found_tasks():
        for reference in (*task.calls.values(), *task.command.values(), *task.score.values()):
            assert task.load(reference), reference
        for reference in task.tab.values():
            assert task.load(reference).title
        for example in task.examples:
            assert example.split()[0] in commands
            for word in example.split():
                if word.startswith("{examples}"):
                    assert Path(word.format(examples=task.folder, output="")).exists(), word


@pytest.mark.parametrize("kind", [Client, AsyncClient, LocalClient])
def test_every_call_is_a_method_with_its_signature(kind):
    for name, (task, reference) in CALLS.items():
        method = getattr(kind, name)
        assert name in dir(kind)
        assert inspect.getdoc(method) == inspect.getdoc(task.load(reference))
        assert next(iter(inspect.signature(method).parameters)) == "self"
        assert "timeout_s" in inspect.signature(method).parameters
        assert asyncio.iscoroutinefunction(method) is (kind is AsyncClient)


def test_the_stub_is_what_the_manifests_say():
    spec = importlib.util.spec_from_file_location("stub", ROOT / "deploy/stub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def classes(text):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = " ".join(node.value.split())  # the formatter breaks and trims docstrings
        return [ast.dump(node) for node in tree.body if isinstance(node, ast.ClassDef)]

    assert classes(module.STUB.read_text("utf-8")) == classes(module.stub()), "run `make stub`"


def test_manifests_cost_nothing():
    code = "import sys; from neurips16.clients.tasks import found_tasks; found_tasks(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "grpc", "typer", "gradio", "pyarrow"} & set(done.stdout.split())
