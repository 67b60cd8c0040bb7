"""A checked model becomes the next version of a model repository, all at once or not at all.

    <parent>/.<repository>.publish-<token>/    written here first, and synced to the disk
    <repository>/<model>/<n+1>/                and renamed to here: model.onnx and parity.json

The staging folder lies beside the repository, not in it, so that a server that scans the repository never sees half a
model. A rename does not replace a version that is there, so publishers at the same time each get a number of their own.
What a killed publisher left behind is removed by the next one.
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
from neurips16.export.parity.report import ParityReport, file_sha256
from neurips16.export.spec import ModelSpec, read_spec

MODEL_FILE = "model.onnx"
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def publish(staged: str | Path, repository: str | Path, spec: ModelSpec, report: ParityReport) -> Path:
    """Put the model file ``staged`` into ``repository`` as the next version of ``spec.name``.

    Args:
        staged: the exported file; it is copied.
        repository: the model repository; made when it is not there (its parent must be).
        spec: what the model is.
        report: of `check_parity`, on this very file.

    Returns:
        The new version's folder, ``<repository>/<model>/<n>``.

    Raises:
        ParityError: the report lists differences.
        PublishError: the report is about another file, or the repository cannot be written.
    """
    staged, repository = Path(staged), Path(repository).absolute()
    report.raise_if_failed()
    if report.sha256 != file_sha256(staged):
        raise PublishError(f"{staged} is not the file that parity was checked on: check it again, then publish it")
    if (found := read_spec(staged).name) != spec.name:
        raise PublishError(f"{staged} says that it is {found!r}, not {spec.name!r}: publish it under its own name")
    try:
        repository.mkdir(exist_ok=True)
        with _staging(repository) as staging:
            return _put(staged, staging, repository / spec.name, report)
    except OSError as error:
        raise PublishError(f"cannot publish {spec.name} into {repository}: {error}") from error


def versions(model_dir: str | Path) -> list[int]:
    """The version numbers of a model in a repository, ascending; none where the folder does not exist."""
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        return []
    # A server ignores other names, and names with leading zeros.
    return sorted(int(p.name) for p in model_dir.iterdir() if p.name.isdecimal() and p.name[0] != "0" and p.is_dir())


def _put(staged: Path, staging: Path, model_dir: Path, report: ParityReport) -> Path:
    version_dir = staging / "model" / "1"
    version_dir.mkdir(parents=True)
    shutil.copyfile(staged, version_dir / MODEL_FILE)
    report.save(version_dir)
    for path in (*version_dir.iterdir(), version_dir, version_dir.parent):
        _sync(path)
    if _rename(version_dir.parent, model_dir):  # a new model: its folder appears with its first version in it
        return model_dir / "1"
    while True:
        target = model_dir / str(max(versions(model_dir), default=0) + 1)
        if _rename(version_dir, target):
            return target


def _rename(source: Path, target: Path) -> bool:
    """Move a folder; False when the target is there already (and has something in it)."""
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
    _sync(target.parent)
    return True


@contextlib.contextmanager
def _staging(repository: Path) -> Iterator[Path]:
    """A locked folder beside ``repository``; what dead publishers left is removed first."""
    prefix = f".{repository.name}.publish-"
    staging = repository.parent / f"{prefix}{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        # One publisher at a time sweeps and makes its folder, else a folder could be swept before it is locked.
        with _locked(repository):
            for leftover in repository.parent.glob(f"{prefix}*"):
                _remove_if_dead(leftover)
            staging.mkdir()  # not tempfile.mkdtemp: the server's user must be able to read what is moved from here
            stack.enter_context(_locked(staging))
        stack.callback(shutil.rmtree, staging)
        yield staging


def _remove_if_dead(leftover: Path) -> None:
    try:
        with _locked(leftover, wait=False):
            shutil.rmtree(leftover)
    except BlockingIOError:
        return  # its publisher lives
    except FileNotFoundError:
        return  # its publisher has just finished


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
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


def _sync(path: Path) -> None:
    """Force a file's content, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
