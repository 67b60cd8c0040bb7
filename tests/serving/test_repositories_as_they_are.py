"""Repositories as people have them: in checkouts and volumes, under any path, with files from elsewhere."""

from __future__ import annotations

import signal

import numpy as np
import onnx
import pytest
from hostile_folders import lay, model
from test_command import FREE, Serving, ask

from neurips16.clients import Client

pytestmark = pytest.mark.triton


def foreign() -> onnx.ModelProto:
    """Twice the input, of any length, without a specification."""
    made = model()
    del made.metadata_props[:]
    return made


@pytest.mark.parametrize("place", ["my models", "a;b", 'it\'s "quoted"', "50%, $HOME & [x]"])
def test_paths_of_any_kind(needs_triton, tmp_path, monkeypatch, place) -> None:
    repository, temporary = tmp_path / place / "models", tmp_path / place / "tmp"
    lay(repository / "scaled", model())
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    serving = Serving(str(repository), *FREE)
    try:
        assert serving.models == "scaled", serving.lines
        np.testing.assert_array_equal(ask(serving.url), [[2, 2]])
    finally:
        assert serving.end(signal.SIGTERM) == 0
        serving.process.stderr.close()


def test_what_is_no_model_is_named_once_and_keeps_nothing_from_loading(needs_triton, tmp_path) -> None:
    repository = tmp_path / "models"
    lay(repository / "scaled", model())
    for name in (".git/objects", ".ipynb_checkpoints", "lost+found", "notes of 2024"):
        (repository / name).mkdir(parents=True)
    (repository / "README.md").write_text("ours")
    serving = Serving(str(repository), *FREE, "--model-control", "poll")
    try:
        assert serving.models == "scaled"
        named = [line for line in serving.lines if "passed over" in line]
        assert len(named) == 1
        assert "'.git', '.ipynb_checkpoints', 'README.md', 'lost+found', 'notes of 2024'" in named[0]
        (repository / "later notes").mkdir()
        (tmp_path / "staged").mkdir()
        lay(tmp_path / "staged/mine", foreign())
        (tmp_path / "staged/mine").rename(repository / "mine")
        while "model 'mine' has no config.pbtxt" not in (line := serving.process.stderr.readline()):
            assert line
        assert "assumed from its file: batches of up to 4; x FP32 [-1]; y FP32 [-1] (-1: any length)." in line, line
        with Client(serving.url) as client:
            np.testing.assert_array_equal(client.infer("mine", {"x": np.ones((1, 2), np.float32)})["y"], [[2, 2]])
    finally:
        assert serving.end(signal.SIGTERM) == 0
        serving.process.stderr.close()
