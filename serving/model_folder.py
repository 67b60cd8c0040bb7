"""A model's folder, looked over before anything in it is opened: what is in it stays in the repository."""

from __future__ import annotations

from collections.abc import Iterator
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
    repository = model_dir.parent.resolve()
    _check_entry(model_dir, model_dir, repository)
    for path in folder_contents(model_dir):
        _check_entry(path, model_dir, repository)


def folder_contents(model_dir: Path) -> Iterator[Path]:
    """All that is below a model's folder as the server sees it: linked folders are entered, each real one once.

    Raises:
        RepositoryError: a folder cannot be read, or there is too much.
    """
    entered, waiting, seen = set(), [model_dir], 0
    while waiting:
        folder = waiting.pop()
        try:
            real = folder.resolve()
            if real in entered:
                continue
            entered.add(real)
            paths = sorted(folder.iterdir())
        except (OSError, RuntimeError) as error:
            raise RepositoryError(f"{str(folder.relative_to(model_dir.parent))!a} cannot be read: {error}") from error
        seen += len(paths)
        if seen > MAX_FILES:
            raise RepositoryError(f"model {model_dir.name!r} has more than {MAX_FILES} files: remove what is no model")
        for path in paths:
            yield path
            if path.is_dir():
                waiting.append(path)


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
    for path in folder_contents(model_dir):
        if path.suffix in PROGRAMS or ".so." in path.name:
            raise RepositoryError(
                f"{str(path.relative_to(model_dir.parent))!a} is a program, which the server might run in place of its "
                "backend: remove it, or write a config.pbtxt of your own"
            )
