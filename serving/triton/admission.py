"""Which models a server takes at its start: those that can be served, so that one bad folder stops no others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    found = look(repositories, models)
    refused = _refused(found, before_load)
    if refused and (models is not None or len(refused) == len(found)):
        raise RepositoryError("; ".join(map(str, refused.values())))
    return _leave_out(refused, repositories, models, found)


def admit_again(
    repositories: Sequence[Path], models: Collection[str] | None, before_load: Callable[[Path], object] | None
) -> tuple[dict[Path, Fingerprint], set[str]]:
    """The model folders to load after a crash: what was let pass at the start may have changed since.

    Returns:
        As `admit`; and the names of those that are refused now.
    """
    found = look(repositories, models)
    refused = _refused(found, before_load)
    return _leave_out(refused, repositories, models, found), {folder.name for folder in refused}


def _refused(folders: Iterable[Path], before_load: Callable[[Path], object] | None) -> dict[Path, RepositoryError]:
    refused: dict[Path, RepositoryError] = {}
    if before_load is None:
        return refused
    for folder in sorted(folders):
        try:
            before_load(folder)
        except RepositoryError as error:
            refused[folder] = error
        except Exception as error:  # a fault of ours in one model's folder costs its neighbours nothing
            refused[folder] = RepositoryError(f"model {folder.name!r} cannot be looked at: {error!r}")
    return refused


def _leave_out(
    refused: Mapping[Path, RepositoryError],
    repositories: Sequence[Path],
    models: Collection[str] | None,
    found: Collection[Path],
) -> dict[Path, Fingerprint]:
    for folder, reason in refused.items():
        logger.error("model %r is left out: %s", folder.name, str(reason).removeprefix(f"model {folder.name!r}: "))
    # Looked at again, so that what has just been written is not taken for a change.
    again = look(repositories, models)
    return {folder: seen for folder, seen in again.items() if folder in found and folder not in refused}
