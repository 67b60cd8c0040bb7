"""Loads what is new or has changed in a model repository, unloads what is gone.

Triton's own polling is of no use here: it excludes the explicit control that brings back a model whose stub died.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from neurips16.serving.errors import ServingError
from neurips16.serving.repository import CONFIG_FILE, is_model
from neurips16.serving.triton.management_client import ControlError, ServerControl
from neurips16.serving.triton.repositories import assumed

logger = logging.getLogger("neurips16.serving.triton.repository_poller")

Fingerprint = frozenset[tuple[str, int, int]]  # path, size and time of change of each file of a model


class RepositoryPoller:
    """Follows the repositories of one server, from `start` to `stop`.

    Args:
        repositories: the model repositories.
        models: the models to follow, None for all.
        known: what `look` found before the server started: whatever differs from it is loaded.
        control: loads and unloads models.
        wanted: the models that should be ready; changed as models come and go.
        before_load: called with a model's folder before it is loaded.
        loaded: called with a model's name after it was.
        poll_s: seconds from one look to the next.
    """

    def __init__(
        self,
        repositories: Sequence[Path],
        models: Collection[str] | None,
        known: dict[Path, Fingerprint],
        control: ServerControl,
        wanted: set[str],
        before_load: Callable[[Path], object] | None,
        loaded: Callable[[str], None],
        poll_s: float,
    ):
        self._repositories = repositories
        self._control = control
        self._wanted = wanted
        self._before_load = before_load
        self._loaded = loaded
        self._poll_s = poll_s
        self._models = models
        self._known = known
        self._complaints: dict[str, str] = {}  # the last one of each, not to be repeated at every look
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="neurips16-poll", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer. A load under way ends with the server that it waits for."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                found = look(self._repositories, self._models)
            except OSError as error:
                self._complain("the repository", f"cannot be read: {error}")
                continue
            for folder in self._known.keys() - found.keys():
                self._change(folder, self._unload)
            for folder in [folder for folder in found if found[folder] != self._known.get(folder)]:
                if not self._change(folder, self._load):
                    del found[folder]  # to be tried again
            # As it was before the loads: a file that changed meanwhile is seen the next time. What the loads have
            # written is seen as well, and the server finds nothing new in it.
            self._known = found

    def _change(self, folder: Path, change: Callable[[Path], None]) -> bool:
        """Make a change; False when it was not even asked of the server, for want of a good repository."""
        try:
            change(folder)
        except ControlError as error:  # trying again, with the same files, would fail again
            self._complain(f"model {folder.name!r}", f"stays as it was: {error}")
        except Exception as error:  # whatever it is, the other models are still followed
            known = isinstance(error, ServingError)
            self._complain(f"model {folder.name!r}", f"is not loaded yet: {error if known else repr(error)}")
            return False
        return True

    def _complain(self, what: str, problem: str) -> None:
        if not self._stopped.is_set() and self._complaints.get(what) != problem:
            self._complaints[what] = problem
            logger.error("%s %s", what, problem)

    def _load(self, folder: Path) -> None:
        if self._before_load is not None:
            self._before_load(folder)
        self._control.load(folder.name)
        self._wanted.add(folder.name)
        self._loaded(folder.name)
        logger.info("loaded what is new of model %r", folder.name)
        if not (folder / CONFIG_FILE).is_file():
            logger.info("%s", assumed(self._control.config(folder.name)))

    def _unload(self, folder: Path) -> None:
        self._wanted.discard(folder.name)
        self._control.unload(folder.name)
        logger.info("unloaded model %r, which is gone from %s", folder.name, folder.parent)


def look(repositories: Sequence[Path], models: Collection[str] | None) -> dict[Path, Fingerprint]:
    """The model folders of the repositories, or those of ``models`` only."""
    return {
        folder: fingerprint(folder)
        for repository in repositories
        for folder in repository.iterdir()
        if is_model(folder) and (models is None or folder.name in models)
    }


def fingerprint(model: Path) -> Fingerprint:
    """What tells one content of a model's folder from another, without reading it. Hidden files do not count."""
    found = []
    for path in model.rglob("*"):
        relative = path.relative_to(model)
        if any(part.startswith(".") for part in relative.parts):
            continue
        try:
            status = path.stat()
        except OSError:  # being renamed at this moment, or a link to nowhere
            continue
        found.append((str(relative), 0 if path.is_dir() else status.st_size, status.st_mtime_ns))
    return frozenset(found)
