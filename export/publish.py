"""A checked model becomes the next version of a model repository, all at once or not at all.

    <repository>/<model>/<n+1>/              model.onnx and parity.json, staged and renamed (see `export/staging.py`)
    <repository>/<model>/.highest_version    written before a version is taken away

A rename does not replace a version that is there, so publishers at the same time each get a number of their own; and a
number that was taken away is never given to other content, since clients and logs may still name it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from neurips16.export.errors import PublishError
from neurips16.export.parity.report import ParityReport, file_sha256
from neurips16.export.spec import ModelSpec, read_spec
from neurips16.export.staging import locked, rename, staging, sync

MODEL_FILE = "model.onnx"
HIGHEST = ".highest_version"  # hidden: a server takes it for no part of the model


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
        with staging(repository) as folder:
            version_dir = make_version(folder)
            shutil.copyfile(staged, version_dir / MODEL_FILE)
            report.save(version_dir)
            return put(version_dir, repository / spec.name)
    except OSError as error:
        raise PublishError(f"cannot publish {spec.name} into {repository}: {error}") from error


def make_version(folder: Path) -> Path:
    """An empty version folder in a staging folder, for `put`."""
    version_dir = folder / "model" / "1"
    version_dir.mkdir(parents=True)
    return version_dir


def put(version_dir: Path, model_dir: Path) -> Path:
    """Move a staged version folder, alone in its parent, into a repository under the next number."""
    for path in (*version_dir.iterdir(), version_dir, version_dir.parent):
        sync(path)
    if rename(version_dir.parent, model_dir):  # a new model: its folder appears with its first version in it
        return model_dir / version_dir.name
    while True:
        target = model_dir / str(max([highest(model_dir), *versions(model_dir)]) + 1)
        if rename(version_dir, target):
            return target


def withdraw(version_dir: Path) -> None:
    """Take a version out of its repository, all at once; its number is not given again.

    Raises:
        PublishError: it is not there, or the repository cannot be written.
    """
    model_dir = version_dir.parent
    try:
        with staging(model_dir.parent) as folder:
            with locked(model_dir):
                _keep_highest(model_dir, max([highest(model_dir), *versions(model_dir)]))
            rename(version_dir, folder / version_dir.name)
            sync(model_dir)
    except OSError as error:
        raise PublishError(f"cannot take {version_dir} away: {error}") from error


def versions(model_dir: str | Path) -> list[int]:
    """The version numbers of a model in a repository, ascending; none where the folder does not exist."""
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        return []
    # A server ignores other names, and names with leading zeros.
    return sorted(int(p.name) for p in model_dir.iterdir() if p.name.isdecimal() and p.name[0] != "0" and p.is_dir())


def highest(model_dir: Path) -> int:
    """The highest number that a version had which was taken away; 0 where none was.

    Raises:
        PublishError: it cannot be read.
    """
    path = model_dir / HIGHEST
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise PublishError(f"{path} holds no number: write the highest version that there was into it") from error


def _keep_highest(model_dir: Path, number: int) -> None:
    aside = model_dir / f"{HIGHEST}.{secrets.token_hex(4)}"
    aside.write_text(f"{number}\n")
    sync(aside)
    os.replace(aside, model_dir / HIGHEST)
    sync(model_dir)
