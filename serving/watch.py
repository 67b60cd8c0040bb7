"""Brings a model back whose process died.

The server hosts every model instance in a stub process. When one dies, this server answers INTERNAL to all requests
to that model, for ever, and still reports the model as ready. Loading the model again changes nothing; unloading it
first does.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psutil
from neurips16.serving.binary import STUB

logger = logging.getLogger("neurips16.serving.watch")

POLL_S = 0.25  # a stub needs longer than this to become ready, so each one is seen alive first
BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the 1st, 2nd, … restoration in a row
QUIET_S = 60.0  # a death this long after the last one starts a new row


class ModelControl(Protocol):
    """The calls of the server's model control that the watcher needs."""

    def is_ready(self, model: str, version: str) -> bool:
        """Whether the server takes this version for ready, rightly or not."""

    def unload(self, model: str) -> None:
        """Unload a model."""

    def load(self, model: str) -> None:
        """Load a model; raises when it does not load."""


class StubWatcher:
    """Watches the stub processes of one server, from `start` to `stop`.

    It has to look on from the server's start, so that no stub dies before it was seen alive; it acts once it is armed.

    Args:
        server_pid: the server, whose children the stubs are.
        repositories: the folders whose models it serves, as the server was given them.
        on_error: the exceptions that a failing `ModelControl` raises.
    """

    def __init__(
        self,
        server_pid: int,
        repositories: Sequence[Path],
        on_error: type[Exception] | tuple[type[Exception], ...],
    ):
        self._server = psutil.Process(server_pid)
        self._repositories = repositories
        self._control: ModelControl | None = None
        self._on_error = on_error
        self._stubs: dict[int, tuple[str, str]] = {}  # process id -> the model and version it hosts an instance of
        self._zombies: set[int] = set()  # seen once, with status 0
        self._handled: set[int] = set()  # dead stubs whose model is being, or was, restored
        self._deaths: dict[str, list[float]] = {}  # times, of the current row only
        self._broken: dict[str, str] = {}  # models that are being restored, and why
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="neurips16-stubs", daemon=True)
        self.restorations = 0

    def start(self) -> None:
        """Begin to look on."""
        self._thread.start()

    def arm(self, control: ModelControl) -> None:
        """From now on bring back, through ``control``, what has died."""
        self._control = control

    def stop(self) -> None:
        """Watch no longer. A restoration under way ends with the server that it waits for."""
        self._stopped.set()
        self._thread.join()

    def broken(self) -> dict[str, str]:
        """The models that cannot answer at this moment, with the reason: looked up now, not at the last poll."""
        self._scan()
        with self._lock:
            return dict(self._broken)

    def _run(self) -> None:
        while not self._stopped.wait(POLL_S):
            self._scan()

    def _scan(self) -> None:
        try:
            children = self._server.children()
        except psutil.NoSuchProcess:  # the server itself has ended: there is nothing left to watch
            return
        with self._lock:
            alive = {child.pid for child in children}
            self._stubs = {pid: hosted for pid, hosted in self._stubs.items() if pid in alive}
            self._handled &= alive
            self._zombies &= alive
            for child in children:
                self._look_at(child)

    def _look_at(self, child: psutil.Process) -> None:
        """Note a stub that is new, and a stub that is dead. The lock is held."""
        try:
            if child.pid not in self._stubs:
                hosted = self._hosted_by(child.cmdline())
                if hosted is not None:
                    self._stubs[child.pid] = hosted
            # The server reaps a stub that it ended itself at once; one that died alone stays a zombie.
            dead = child.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return
        if not dead or self._control is None or child.pid not in self._stubs or child.pid in self._handled:
            return
        status = _exit_status(child.pid)
        if status == 0 and child.pid not in self._zombies:  # perhaps ended in order, and about to be reaped
            self._zombies.add(child.pid)
            return
        self._handled.add(child.pid)
        model, version = self._stubs[child.pid]
        if model in self._broken:  # another instance of it died first: the restoration under way replaces both
            return
        self._broken[model] = f"its process {child.pid} {_describe(status)}"
        threading.Thread(
            target=self._restore, args=(self._control, model, version), name=f"neurips16-restore-{model}", daemon=True
        ).start()

    def _hosted_by(self, command: Sequence[str]) -> tuple[str, str] | None:
        """The model and version that a stub hosts; None for other processes, and for one that only auto-completes.

        A stub's arguments are: the model file, the shared memory region, two sizes, its parent, the Python backend's
        folder, a handle, the instance's name (the bare model name when it auto-completes), our backend's folder.
        """
        if len(command) < 4 or Path(command[0]).name != STUB:
            return None
        for repository in self._repositories:
            if Path(command[1]).is_relative_to(repository):
                model, version = Path(command[1]).relative_to(repository).parts[:2]
                return None if command[-2] == model else (model, version)
        return None

    def _restore(self, control: ModelControl, model: str, version: str) -> None:
        """Unload and load a model until it answers. Runs in a thread of its own."""
        try:
            # While it loads or unloads, a dead stub is the server's own affair: the call that asked for it fails.
            if control.is_ready(model, version):
                self._reload(control, model)
        except self._on_error as error:
            if not self._stopped.is_set():
                logger.error("model %r: the server did not say whether it is ready: %s", model, error)
        finally:
            with self._lock:
                self._broken.pop(model, None)

    def _reload(self, control: ModelControl, model: str) -> None:
        began = time.monotonic()
        logger.warning("model %r cannot answer: %s; loading it again", model, self._broken[model])
        while not self._stopped.wait(self._delay_s(model)):
            try:
                control.unload(model)
                control.load(model)
            except self._on_error as error:
                if not self._stopped.is_set():
                    logger.error("model %r did not load again: %s", model, error)
                continue
            self.restorations += 1
            logger.warning("model %r answers again after %.1f s", model, time.monotonic() - began)
            return

    def _delay_s(self, model: str) -> float:
        """How long to wait before the next restoration: none at first, ever longer for a model that keeps dying."""
        now = time.monotonic()
        row = self._deaths.setdefault(model, [])
        if row and now - row[-1] > QUIET_S:
            row.clear()
        row.append(now)
        return BACKOFF_S[min(len(row), len(BACKOFF_S)) - 1]


def _exit_status(pid: int) -> int:
    """What a zombie ended with, as waitpid gives it (field 52 of /proc/PID/stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # reaped meanwhile: the server ended it
        return 0
    return int(fields[49])


def _describe(status: int) -> str:
    number = status & 0x7F
    if number:
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return f"was ended by signal {name}"
    return f"ended with status {status >> 8}"
