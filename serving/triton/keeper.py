"""Keeps a server running: starts it again when it ends by itself, without the models that crash it again and again."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from neurips16.serving.errors import ServingError
from neurips16.serving.triton.loaded_models import LoadedModel, read_loaded
from neurips16.serving.triton.management_client import ControlError
from neurips16.serving.triton.quarantine import Quarantine
from neurips16.serving.triton.run_folder import RunFolder

if TYPE_CHECKING:
    from neurips16.serving.triton.server import TritonServer

logger = logging.getLogger("neurips16.serving.triton.keeper")

LOOK_S = 0.05
LOADED_S = 1.0  # how often the server is asked for what it has loaded
# A server that ends is started again for as long as it can be: at once, then ever later, for who makes it end must not
# keep the machine busy. It counts as healthy again after a while without a failure. Only starts that fail, so many in
# a row, end it all: then another program has its port, say, or its files are gone.
FIRST_DELAY_S, LONGEST_DELAY_S, HEALTHY_S = 1.0, 60.0, 600.0
MAX_FAILED_STARTS = 10


class ServerKeeper:
    """Watches one server, from `start` to `stop`.

    Args:
        server: started, and ready.
        folder: the server's.
    """

    def __init__(self, server: TritonServer, folder: RunFolder):
        self._server = server
        self._folder = folder
        self._loaded: dict[str, LoadedModel] = {}  # as the server last said it: also what our backend does not note
        self._asked_s = 0.0
        self.asked = 0  # how often the server has said what it has loaded
        self._ends_s: list[float] = []  # the times of the last ones
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
            self._loaded = self._server.loaded_models()
        except ControlError:  # busy, or about to end: what was known stands
            return
        self.asked += 1
        self._release(self._loaded)

    def _start_again(self) -> None:
        """Start a server until one runs. The models that it is to load are those that the first had loaded."""
        noted = self._take_records()
        self._release(noted)
        loaded = noted | {name: model for name, model in self._loaded.items() if not model.noted and name not in noted}
        failed_starts = 0
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
                self._server.replace(loaded, self.quarantine.models)
            except ServingError as error:
                logger.error("%s", error)
                failed_starts += 1
                if failed_starts == MAX_FAILED_STARTS:
                    self.failure = f"{error}; given up after {failed_starts} starts that failed"
                    return
            else:
                self.restarts += 1
                logger.warning("Triton answers again, with %s", ", ".join(sorted(self._server.models)) or "no model")
                return

    def _release(self, loaded: Iterable[str]) -> None:
        """Let out of quarantine what was loaded since: somebody asked for it by name, or its files have changed."""
        for model in self.quarantine.models.keys() & set(loaded):
            self.quarantine.release(model)
            logger.warning("model %r was loaded again, and is out of quarantine", model)

    def _take_records(self) -> dict[str, LoadedModel]:
        """What was loaded, out of the way of the next server's records."""
        kept = self._folder.folder / "loaded-before"
        shutil.rmtree(kept, ignore_errors=True)
        self._folder.loaded.rename(kept)
        return read_loaded(kept)

    def _delay_s(self) -> float:
        now = time.monotonic()
        self._ends_s = [then for then in self._ends_s if now - then < HEALTHY_S] + [now]
        return delay(len(self._ends_s))


def delay(failures: int) -> float:
    """Seconds to wait before a start, after so many failures in a short time: none, then ever more up to a minute."""
    return 0.0 if failures < 2 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 2, 30))
