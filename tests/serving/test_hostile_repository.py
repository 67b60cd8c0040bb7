"""A model file, or a folder of them, may be read, and no more; and its neighbours are served all the same."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from hostile_folders import HOSTILE, lay, lay_all, model
from test_command import FREE, Serving, ask

from neurips16.export.spec import Op, read_spec
from neurips16.serving.errors import RepositoryError
from neurips16.serving.model_folder import MAX_FILES, check_folder
from neurips16.serving.repository import config_for, prepare_model, read_config
from neurips16.serving.triton.admission import admit


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository with one good model."""
    lay(tmp_path / "models" / "scaled", model())
    return tmp_path / "models"


def everything(folder: Path) -> dict[str, int]:
    """All files below, not through links, and when they were changed."""
    return {
        str(Path(place, name)): os.lstat(Path(place, name)).st_mtime_ns
        for place, _, files in os.walk(folder)
        for name in files
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_each_hostile_folder_is_refused_in_one_line(repository, tmp_path, name):
    make, words = HOSTILE[name]
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(bytes(16))
    make(repository / name, tmp_path / "outside")
    before = everything(tmp_path)
    with pytest.raises(RepositoryError) as caught:
        prepare_model(repository / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert everything(tmp_path) == before  # nothing was written, neither there nor elsewhere
    prepare_model(repository / "scaled")


def test_a_file_that_is_to_be_replaced_is_not_read(repository):
    """It may be endless; of another size it cannot be what is wanted."""
    folder = repository / "scaled"
    prepare_model(folder)
    config = folder / "config.pbtxt"
    written = config.read_bytes()
    os.truncate(config, 1 << 40)
    assert prepare_model(folder) == [config]
    assert config.read_bytes() == written


def test_a_fault_in_one_folder_costs_the_others_nothing(repository):
    lay(repository / "odd", model())

    def before_load(folder: Path) -> None:
        if folder.name == "odd":
            raise TypeError("a fault of ours")

    assert [folder.name for folder in admit([repository], None, before_load)] == ["scaled"]


def test_a_configuration_has_only_what_a_file_may_say(repository):
    """What is written from a file, for every field of it: names, facts, sizes; nothing that says what is run."""
    folder = repository / "scaled"
    prepare_model(folder)
    facts = {"alphabet": 'a"}\nbackend: "python"\n', "labels": "[1]"}
    lay(folder, model(parameters=facts, summary='" backend: "python"'), "2")
    prepare_model(folder)
    written = MessageToDict(read_config(folder / "config.pbtxt"), preserving_proto_field_name=True)
    assert set(written) <= {
        *("name", "backend", "max_batch_size", "default_model_filename", "version_policy", "input", "output"),
        *("sequence_batching", "dynamic_batching", "instance_group", "parameters", "model_operations"),
    }
    assert written["backend"] == "onnxruntime"
    assert written["default_model_filename"] == "model.onnx"
    assert {name: value["string_value"] for name, value in written["parameters"].items()} == facts
    assert "model_operations" not in written
    spec = read_spec(folder / "2" / "model.onnx")
    with_ops = config_for(dataclasses.replace(spec, custom_ops=(Op("/x", "y.so"),)))
    assert list(with_ops.model_operations.op_library_filename) == ["libneurips16_ops.so"]


def test_links_within_the_repository_are_followed(repository):
    """A volume of Kubernetes is made of them."""
    folder = repository / "scaled"
    (folder / "1").rename(folder / "..data")
    (folder / "1").symlink_to("..data")
    prepare_model(folder)
    assert (folder / "config.pbtxt").is_file()


def test_nothing_is_written_through_a_link(repository, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (repository / "scaled" / ".config.pbtxt.partial").symlink_to("../../mine")
    with pytest.raises(RepositoryError, match="leads out"):
        prepare_model(repository / "scaled")
    (repository / "mine").write_text("mine")
    (repository / "scaled" / ".config.pbtxt.partial").unlink()
    (repository / "scaled" / ".config.pbtxt.partial").symlink_to("../mine")
    prepare_model(repository / "scaled")
    assert (repository / "mine").read_text() == (tmp_path / "mine").read_text() == "mine"


def test_a_folder_with_no_end_is_not_looked_through(tmp_path):
    (tmp_path / "model").mkdir()
    for number in range(MAX_FILES + 1):
        (tmp_path / "model" / str(number)).touch()
    with pytest.raises(RepositoryError, match="more than 10000 files"):
        check_folder(tmp_path / "model")


@pytest.mark.triton
def test_the_server_serves_the_neighbours(needs_triton, repository, tmp_path):
    """Of twenty and more hostile folders, at its start and while it serves."""
    outside = tmp_path / "outside"
    lay_all(repository, outside)
    prefix = "late_"
    hostile = HOSTILE.keys() - {"nothing"}  # an empty folder is no model, and passed over
    expected = {f"{start}{name}" for start in ("", prefix) for name in hostile}
    serving = Serving(str(repository), *FREE, "--model-control", "poll")
    try:
        assert serving.models == "scaled"
        np.testing.assert_array_equal(ask(serving.url), [[2, 2]])
        assert len([line for line in serving.lines if "is left out" in line]) == len(hostile)
        assert any("passed over: " in line and "'nothing'" in line for line in serving.lines), serving.lines
        lay_all(tmp_path / "staged", outside, prefix)
        lay(tmp_path / "staged" / "good", model())
        for folder in sorted((tmp_path / "staged").iterdir()):
            folder.rename(repository / folder.name)
        missing = {f"model {name!r} " for name in expected if name.startswith(prefix)} | {"what is new of model 'good'"}
        while missing:
            serving.lines.append(serving.process.stderr.readline())
            assert serving.lines[-1], missing
            missing = {words for words in missing if words not in serving.lines[-1]}
        np.testing.assert_array_equal(ask(serving.url), [[2, 2]])
    finally:
        assert serving.end(signal.SIGTERM) == 0
        serving.process.stderr.close()
    refused = [line for line in serving.lines if "is left out" in line or "is not loaded yet" in line]
    for name in expected:
        lines = [line for line in refused if f"model {name!r} " in line]
        assert lines, name
        assert all(HOSTILE[name.removeprefix(prefix)][1] in line for line in lines), lines
    assert not (outside / "ran").exists()
    assert sorted(path.name for path in outside.iterdir() if path.is_file()) == ["secret"]


@pytest.mark.triton
def test_a_model_that_the_server_refuses_is_left_out_too(needs_triton, repository):
    made = model()
    made.graph.node[0].op_type = "Missing"
    lay(repository / "unrunnable", made)
    serving = Serving(str(repository), *FREE)
    try:
        assert serving.models == "scaled"
        np.testing.assert_array_equal(ask(serving.url), [[2, 2]])
        (failure,) = (line for line in serving.lines if "unrunnable" in line or "ERROR" in line)  # once
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d ERROR left out: model 'unrunnable' version 1 did not load: [ -~]*\n", failure
        )
    finally:
        serving.end(signal.SIGTERM)
        serving.process.stderr.close()
