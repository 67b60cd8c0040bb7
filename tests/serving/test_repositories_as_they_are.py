"""Repositories as people have them: in checkouts and volumes, under any path, with files from elsewhere."""

from __future__ import annotations

import signal
import subprocess
import tempfile

import numpy as np
import onnx
import pytest
from hostile_folders import lay, model
from onnx import helper, numpy_helper
from serving_tools import make_model, put, tensor
from test_command import FREE, Serving, ask

from neurips16.clients import Client
from neurips16.serving.errors import ServerFailedError
from neurips16.serving.triton.run_folder import RunFolder

pytestmark = pytest.mark.triton


def foreign() -> onnx.ModelProto:
    """Twice the input, of any length, without a specification."""
    made = model()
    del made.metadata_props[:]
    return made


def bare_models(repository) -> None:
    """ONNX files of others, without a configuration."""
    bias = numpy_helper.from_array(np.full(2, 100, np.float32), "bias")
    add = [helper.make_node("Add", ["x", "bias"], ["y"])]
    same, negative = helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])
    batch, pair = ("FP32", ["N", 2]), ("FP32", [2])
    put(
        repository,
        "biased",
        None,
        make_model(add, [tensor("x", *batch), tensor("bias", *pair)], [tensor("y", *batch)], [bias]),
    )
    for name, node, *kind in (
        ("strings", same, "BYTES", ["N"]),
        ("numbers", negative, "FP32", ["N"]),
        ("scalar", negative, "FP32", []),
        ("fixed", negative, "FP32", [2, 3]),
    ):
        put(repository, name, None, make_model([node], [tensor("x", *kind)], [tensor("y", *kind)]))


def test_onnx_without_a_configuration_is_served_and_what_was_assumed_is_said(needs_triton, tmp_path) -> None:
    bare_models(tmp_path / "models")
    serving = Serving(str(tmp_path / "models"), *FREE)
    try:
        assert serving.models == "biased, fixed, numbers, scalar, strings", serving.lines
        said = "".join(serving.lines)
        for assumed in (
            "'biased' has no config.pbtxt; assumed from its file: batches of up to 4; x FP32 [2]; y FP32 [2]",
            "'fixed' has no config.pbtxt; assumed from its file: no batching; x FP32 [2, 3]; y FP32 [2, 3]",
            "'numbers' has no config.pbtxt; assumed from its file: batches of up to 4; x FP32 [1]; y FP32 [1]",
            "'scalar' has no config.pbtxt; assumed from its file: no batching; x FP32 [1]; y FP32 [1]",
            "'strings' has no config.pbtxt; assumed from its file: batches of up to 4; x STRING [1]; y STRING [1]",
        ):
            assert assumed in said
        x = np.arange(6, dtype=np.float32).reshape(3, 2)
        with Client(serving.url) as client:
            np.testing.assert_array_equal(client.infer("biased", {"x": x})["y"], x + 100)
            np.testing.assert_array_equal(client.infer("fixed", {"x": x.reshape(2, 3)})["y"], -x.reshape(2, 3))
            np.testing.assert_array_equal(client.infer("numbers", {"x": x[:, :1]})["y"], -x[:, :1])
            np.testing.assert_array_equal(client.infer("scalar", {"x": x[0, 1:]})["y"], -x[0, 1:])
            words = np.array([[b"one"], ["zwölf".encode()]], object)
            np.testing.assert_array_equal(client.infer("strings", {"x": words})["y"], words)
    finally:
        assert serving.end(signal.SIGTERM) == 0
        serving.process.stderr.close()


@pytest.fixture
def noexec(tmp_path):
    """A temporary folder in which no program may run."""
    folder = tmp_path / "noexec"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a folder")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_temporary_folder_without_programs_will_do(needs_triton, tmp_path, noexec, monkeypatch) -> None:
    lay(tmp_path / "models/scaled", model())
    monkeypatch.setenv("TMPDIR", str(noexec))
    serving = Serving(str(tmp_path / "models"), *FREE)
    try:
        np.testing.assert_array_equal(ask(serving.url), [[2, 2]])
        assert any(str(noexec) in line for line in serving.lines)  # that of the admin token
    finally:
        assert serving.end(signal.SIGTERM) == 0
        serving.process.stderr.close()


def test_a_temporary_folder_that_is_full_is_named_with_its_remedy(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ServerFailedError, match=rf"cannot make a folder in {tmp_path}/gone: .*; set TMPDIR to another"):
        RunFolder.create()


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
