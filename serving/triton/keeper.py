"""Keeps a server running: starts it again when it ends by itself, without the models that crash it again and again."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from typing import TYPE_CHECKING

from neurips16.serving.errors import ServingError, UnfitEnvironmentError
from neurips16.serving.triton.loaded_models import LoadedModel, read_loaded
from neurips16.serving.triton.management_client import ControlError
from neurips16.serving.triton.quarantine import Quarantine
from neurips16.serving.triton.run_folder import RunFolder

if TYPE_CHECKING:
    from neurips16.serving.triton.server import TritonServer

logger = logging.getLogger("neurips16.serving.triton.keeper")

LOOK_S = 0.05
LOADED_S = 1.0  # how often the server is asked for what it has loaded
BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the 1st, 2nd, … start in a row
QUIET_S = 60.0  # an end this long after the last one starts a new row


class ServerKeeper:
    """Watches one server, from `start` to `stop`.

    Args:
        server: started, and ready.
        folder: the server's.
    """

    def __init__(self, server: TritonServer, folder: RunFolder):
        self._server = server
        self._folder = folder
        self._unnoted: set[str] = set()  # models that are ready, and that our backend does not note: ensembles
        self._asked_s = 0.0
        self._ends_s: list[float] = []  # of the current row
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="neurips16-keeper", daemon=True)
        self.quarantine = Quarantine()
        self.restarts = 0
        self.failure: str | None = None  # why the server cannot be kept running

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def let_go(self) -> None:
        """Watch no longer; waits for nothing."""
        self._stopped.set()

    def stop(self) -> None:
        """Watch no longer. A start under way is waited for."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            if self._server.ended() is not None:
                self._start_again()
                if self.failure is not None:
                    return
            elif time.monotonic() - self._asked_s > LOADED_S:
                self._ask()

    def _ask(self) -> None:
        self._asked_s = time.monotonic()
        try:
            noted, ready = self._server.loaded_models()
        except ControlError:  # busy, or about to end: what was known stands
            return
        self._unnoted = ready - noted.keys()

    def _start_again(self) -> None:
        """Start a server until one runs. The models that it is to load are those that the first had loaded."""
        loaded = self._take_records()
        names = loaded.keys() | self._unnoted
        while not self._stopped.is_set():
            ended = self._server.ended()
            if ended is not None:
                reason, activities = ended
                logger.error("%s; starting Triton again", reason)
                for model in self.quarantine.crashed(activities):
                    logger.error("model %r is not served any more: %s", model, self.quarantine.models[model])
            if self._stopped.wait(self._delay_s()):
                return
            try:
                self._server.replace(set(names), list(loaded.values()), self.quarantine.models)
            except UnfitEnvironmentError as error:
                self.failure = str(error)
                return
            except ServingError as error:
                logger.error("%s", error)
                continue
            self.restarts += 1
            logger.warning("Triton answers again, with %s", ", ".join(sorted(self._server.models)) or "no model")
            return

    def _take_records(self) -> dict[str, LoadedModel]:
        """What was loaded, out of the way of the next server's records."""
        kept = self._folder.folder / "loaded-before"
        shutil.rmtree(kept, ignore_errors=True)
        self._folder.loaded.rename(kept)
        return read_loaded(kept)

    def _delay_s(self) -> float:
        """How long to wait before the next start: not at first, ever longer for a server that keeps ending."""
        now = time.monotonic()
        if self._ends_s and now - self._ends_s[-1] > QUIET_S:
            self._ends_s.clear()
        self._ends_s.append(now)
        return BACKOFF_S[min(len(self._ends_s), len(BACKOFF_S)) - 1]
