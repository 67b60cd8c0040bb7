"""A model's folder, looked over before anything in it is opened: what is in it stays in the repository."""

from __future__ import annotations

import os
from pathlib import Path

from neurips16.export.spec import MODEL_NAME
from neurips16.serving.errors import RepositoryError

MAX_FILES = 10_000
PROGRAMS = (".so", ".py", ".pyc")  # the server looks for a backend in the model's own folder first


def check_folder(model_dir: Path) -> None:
    """Refuse a folder with links out of its repository, or with what is neither a file nor a folder.

    Links within the repository are fine: a volume of Kubernetes is made of them.

    Raises:
        RepositoryError: there is one, or there is too much to look at.
    """
    if not MODEL_NAME.fullmatch(model_dir.name):
        raise RepositoryError(
            f"a model's folder is called {model_dir.name[:200]!a}: letters, digits, '_', '-' and '.' only, rename it"
        )
    repository, seen = model_dir.parent.resolve(), 0
    _check_entry(model_dir, model_dir, repository)
    for folder, folders, files in os.walk(model_dir):
        seen += len(folders) + len(files)
        if seen > MAX_FILES:
            raise RepositoryError(f"model {model_dir.name!r} has more than {MAX_FILES} files: remove what is no model")
        for name in (*folders, *files):
            _check_entry(Path(folder, name), model_dir, repository)


def _check_entry(path: Path, model_dir: Path, repository: Path) -> None:
    where = str(path.relative_to(model_dir.parent))
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop, up to Python 3.12
        if not path.is_symlink():  # removed at this moment
            return
        raise RepositoryError(f"{where!a} is a link that leads nowhere: remove it") from error
    if not target.is_relative_to(repository):
        raise RepositoryError(f"{where!a} leads out of the repository, to {str(target)!a}: copy what is needed there")
    if not (target.is_file() or target.is_dir()):
        raise RepositoryError(f"{where!a} is neither a file nor a folder: remove it")


def refuse_programs(model_dir: Path) -> None:
    """Refuse programs beside a model that has no configuration of a person's, who would answer for them.

    Raises:
        RepositoryError: there is one.
    """
    for path in sorted(model_dir.rglob("*")):
        if path.suffix in PROGRAMS or ".so." in path.name:
            raise RepositoryError(
                f"{str(path.relative_to(model_dir.parent))!a} is a program, which the server might run in place of its "
                "backend: remove it, or write a config.pbtxt of your own"
            )
