"""Folders that appear in, and vanish from, a model repository all at once.

    <parent>/.<repository>.publish-<token>/    written here first, and synced to the disk
    <repository>/<model>/<n>/                  and renamed to here

The staging folder lies beside the repository, not in it, so that a server that scans the repository never sees half a
model. What a killed process left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from neurips16.export.errors import PublishError

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def rename(source: Path, target: Path) -> bool:
    """Move a folder; False when the target is there already (and has something in it).

    Raises:
        PublishError: source and target are on two file systems.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno == errno.EXDEV:
            raise PublishError(
                f"{target.parent} is on another file system than the folder that it lies in, where the model is "
                f"written first: make the repository a folder of the mounted one"
            ) from error
        raise
    sync(target.parent)
    return True


@contextlib.contextmanager
def staging(repository: Path) -> Iterator[Path]:
    """A locked folder beside ``repository``, removed at the end; what dead processes left is removed first."""
    prefix = f".{repository.name}.publish-"
    folder = repository.parent / f"{prefix}{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        # One process at a time sweeps and makes its folder, else a folder could be swept before it is locked.
        with locked(repository):
            for leftover in repository.parent.glob(f"{prefix}*"):
                _remove_if_dead(leftover)
            folder.mkdir()  # not tempfile.mkdtemp: the server's user must be able to read what is moved from here
            stack.enter_context(locked(folder))
        stack.callback(shutil.rmtree, folder)
        yield folder


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder; the system releases it when the process dies.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is false.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_if_dead(leftover: Path) -> None:
    try:
        with locked(leftover, wait=False):
            shutil.rmtree(leftover)
    except BlockingIOError:
        return  # its process lives
    except FileNotFoundError:
        return  # its process has just finished
