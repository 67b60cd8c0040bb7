"""Which models a server takes at its start: those that can be served, so that one bad folder stops no others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from neurips16.serving.errors import RepositoryError
from neurips16.serving.triton.repository_poller import Fingerprint, look

logger = logging.getLogger("neurips16.serving.triton.admission")


def admit(
    repositories: Sequence[Path], models: Collection[str] | None, before_load: Callable[[Path], object] | None
) -> dict[Path, Fingerprint]:
    """The model folders to load, each of which ``before_load`` has let pass.

    Args:
        repositories: the model repositories.
        models: the models that were asked for by name, None for all: of these none may be left out.
        before_load: called with each model's folder; None lets all pass.

    Raises:
        RepositoryError: a model that was asked for by name is refused, or all are.
    """
    refused: dict[Path, RepositoryError] = {}
    found = look(repositories, models)
    if before_load is None:
        return found
    for folder in sorted(found):
        try:
            before_load(folder)
        except RepositoryError as error:
            refused[folder] = error
        except Exception as error:  # a fault of ours in one model's folder costs its neighbours nothing
            refused[folder] = RepositoryError(f"model {folder.name!r} cannot be looked at: {error!r}")
    if refused and (models is not None or len(refused) == len(found)):
        raise RepositoryError("; ".join(map(str, refused.values())))
    for folder, reason in refused.items():
        logger.error("model %r is left out: %s", folder.name, reason)
    return _as_written(repositories, models, found.keys() - refused)


def admit_again(
    repositories: Sequence[Path], models: Collection[str] | None, before_load: Callable[[Path], object] | None
) -> dict[Path, Fingerprint]:
    """The model folders to load after a crash: what was let pass at the start may have changed since.

    Returns:
        As `admit`; what is refused now is logged and left out.
    """
    found = look(repositories, models)
    passed = {folder for folder in found if before_load is None or _passes(folder, before_load)}
    return _as_written(repositories, models, passed)


def _passes(folder: Path, before_load: Callable[[Path], object]) -> bool:
    try:
        before_load(folder)
    except RepositoryError as error:
        logger.error("model %r is left out: %s", folder.name, error)
        return False
    return True


def _as_written(
    repositories: Sequence[Path], models: Collection[str] | None, passed: Collection[Path]
) -> dict[Path, Fingerprint]:
    # Looked at again, so that what has just been written is not taken for a change.
    return {folder: seen for folder, seen in look(repositories, models).items() if folder in passed}
