"""A file of `torch.save` that holds more than tensors: it is refused, on one line, and nothing of it is run."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from neurips16.training.errors import CheckpointError
from neurips16.training.run import run_training
from neurips16.training.system import load_module
from neurips16.training.systems.rfcn.resnet import ResNet, load_imagenet_weights
from neurips16.training.systems.soundnet.network import load_soundnet
from neurips16.training.tensor_file import read_tensor_file


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path):
        self._mark = mark

    def __reduce__(self):
        return Path.touch, (self._mark,)


@pytest.fixture(params=["zip", "old", "pickle"])
def evil(request, tmp_path) -> Path:
    """A file in each layout that torch reads; `tmp_path / "run"` is there once its code has run."""
    content = {"state_dict": {"weight": torch.zeros(2)}, "neurips16": {"system": Evil(tmp_path / "run")}}
    path = tmp_path / "evil.ckpt"
    if request.param == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


@pytest.mark.parametrize(
    "read",
    [
        read_tensor_file,
        load_module,
        load_soundnet,
        lambda path: load_imagenet_weights(ResNet(18), path),
        lambda path: run_training("deepmath", "small", path.parent, path.parent),  # it would continue from last.ckpt
    ],
    ids=["tensors", "checkpoint", "SoundNet", "ImageNet", "resume"],
)
def test_its_code_is_not_run(read, evil, tmp_path, deepmath_folder):
    evil.rename(tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be read") as caught:
        read(tmp_path / "last.ckpt")
    text = str(caught.value)
    assert "\n" not in text
    assert "weights_only" not in text  # torch's text advises to open the file all the same
    assert caught.value.exit_status == 2
    assert not (tmp_path / "run").exists()


def test_the_file_would_have_run_it(evil, tmp_path):
    with contextlib.suppress(RuntimeError):  # it is no whole checkpoint in each layout; then it is too late
        torch.load(evil, weights_only=False)
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, b"", b"hello", b"PK\x03\x04" + bytes(40)])
def test_files_of_another_kind_are_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        read_tensor_file(tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_tensors_and_plain_values_are_read(tmp_path):
    torch.save({"a": torch.arange(3), "b": [1, "two", 3.0, None]}, tmp_path / "x")
    content = read_tensor_file(tmp_path / "x")
    assert torch.equal(content["a"], torch.arange(3))
    assert content["b"] == [1, "two", 3.0, None]


def test_a_file_that_unpacks_to_more_than_it_has_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "plain.pt")
    assert len(read_tensor_file(tmp_path / "plain.pt")["a"]) == 1 << 20
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
    assert packed.stat().st_size < 20_000
    with pytest.raises(CheckpointError, match=r"compressed, which `torch\.save` never does"):
        read_tensor_file(packed)
