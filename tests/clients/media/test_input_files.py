from __future__ import annotations

import os

import pytest

from neurips16.clients.media.input_files import IMAGE_SUFFIXES, input_files
from neurips16.clients.protocol.errors import InvalidInputError


def test_a_folder_of_odd_things(tmp_path):
    folder = tmp_path / "a [1]*"
    (folder / "sub.png").mkdir(parents=True)
    for name in ("x[ab]?.png", os.fsdecode(b"\xe9.png"), ".hidden.png", "text.txt", "sub.png/B.JPG"):
        (folder / name).write_text("1")
    os.mkfifo(folder / "fifo.png")
    (folder / "link.png").symlink_to("nowhere.png")
    files = input_files([folder], IMAGE_SUFFIXES)
    assert {file.name.encode() for file in files} >= {os.fsencode(folder) + rb"/\xe9.png"}  # can be printed
    assert sorted(os.fsencode(file.source.relative_to(folder)) for file in files) == sorted(
        [b"\xe9.png", b"sub.png/B.JPG", b"x[ab]?.png"]
    )


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InvalidInputError, match="cannot be read: Permission denied"):
        input_files([tmp_path], IMAGE_SUFFIXES)
