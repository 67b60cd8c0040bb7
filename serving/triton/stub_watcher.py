"""Brings a model back whose process died.

The server hosts every model instance in a stub process. When one dies, this server answers INTERNAL to all requests
to that model, for ever, and still reports the model as ready. Loading the model again changes nothing; unloading it
first does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from neurips16.serving.triton.installation import STUB
from neurips16.serving.triton.run_folder import SHARED_MEMORY

logger = logging.getLogger("neurips16.serving.triton.stub_watcher")

POLL_S = 0.25  # a stub needs longer than this to become ready, so each one is seen alive first
START_POLL_S = 0.05
SETTLE_S = 0.1  # the server reaps a stub that it killed itself within this time
BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before the 1st, 2nd, … restoration in a row
LINGER_S = 5.0  # how long the stubs of an unloaded model have to finish
LOST_S = 15.0  # the server reaps the dead stubs of a model that it unloads, one by one, within this time
QUIET_S = 60.0  # a death this long after the last one starts a new row


class ModelControl(Protocol):
    """The calls of the server's model control that the watcher needs."""

    def is_ready(self, model: str, version: str) -> bool:
        """Whether the server takes this version for ready, rightly or not."""

    def unload(self, model: str) -> None:
        """Unload a model."""

    def load(self, model: str) -> None:
        """Load a model; raises when it does not load."""


@dataclass(frozen=True)
class Stub:
    """What a stub process hosts an instance of, and the region in /dev/shm that it shares with the server."""

    model: str
    version: str
    region: str


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
        self._stubs: dict[int, Stub] = {}  # by process id
        self._zombies: set[int] = set()  # seen once, with status 0
        self._strangers: dict[int, float] = {}  # zombies that were never seen alive, and when they were first seen
        self._handled: set[int] = set()  # dead stubs whose model is being, or was, restored
        self._deaths: dict[str, list[float]] = {}  # times, of the current row only
        self._broken: dict[str, str] = {}  # models that cannot answer, and why
        self._reloading: set[str] = set()
        self._replaced: set[int] = set()  # stubs of models that were, or are being, loaded again
        self._lost: dict[str, str] = {}  # models that only a new server can bring back, and why
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

    def lost(self) -> dict[str, str]:
        """The models that only a new server can bring back, with the reason; "" stands for one of unknown name."""
        with self._lock:
            return dict(self._lost)

    def _run(self) -> None:
        # While the server starts, a stub may die soon after it began; later, only after it was ready for a while.
        while not self._stopped.wait(START_POLL_S if self._control is None else POLL_S):
            self._scan()

    def _scan(self) -> None:
        try:
            children = self._server.children()
        except psutil.NoSuchProcess:  # the server itself has ended: there is nothing left to watch
            return
        with self._lock:
            alive = {child.pid for child in children}
            self._stubs = {pid: stub for pid, stub in self._stubs.items() if pid in alive}
            self._handled &= alive
            self._replaced &= alive
            self._zombies &= alive
            self._strangers = {pid: seen for pid, seen in self._strangers.items() if pid in alive}
            for child in children:
                self._look_at(child)

    def _look_at(self, child: psutil.Process) -> None:
        """Note a stub that is new, and a stub that is dead. The lock is held."""
        try:
            # The server reaps a stub that it ended itself at once; one that died alone stays a zombie.
            dead = child.status() == psutil.STATUS_ZOMBIE
            if not dead and child.pid not in self._stubs:
                stub = self._stub_of(child.cmdline())
                if stub is not None:
                    self._stubs[child.pid] = stub
                    with contextlib.suppress(FileNotFoundError):  # made readable for all, whatever the umask
                        (SHARED_MEMORY / stub.region).chmod(0o600)
        except psutil.Error:
            return
        if not dead or child.pid in self._handled:
            return
        status = _exit_status(child.pid)
        if child.pid not in self._stubs:  # dead before it was seen alive: whose stub it was cannot be told any more
            first_seen = self._strangers.setdefault(child.pid, time.monotonic())
            if status != 0 and time.monotonic() - first_seen > LOST_S:
                self._lost[""] = f"its process {child.pid} {_describe(status)}"
            return
        if status == 0 and child.pid not in self._zombies:  # perhaps ended in order, and about to be reaped
            self._zombies.add(child.pid)
            return
        self._handled.add(child.pid)
        stub, reason = self._stubs[child.pid], f"its process {child.pid} {_describe(status)}"
        self._broken.setdefault(stub.model, reason)
        threading.Thread(
            target=self._attend, args=(child, stub, reason), name=f"neurips16-attend-{stub.model}", daemon=True
        ).start()

    def _stub_of(self, command: Sequence[str]) -> Stub | None:
        """What a stub hosts, by its command line; None for other processes.

        A stub's arguments begin with the model file and the shared memory region.
        """
        if len(command) < 3 or Path(command[0]).name != STUB:
            return None
        for repository in self._repositories:
            if Path(command[1]).is_relative_to(repository):
                model, version = Path(command[1]).relative_to(repository).parts[:2]
                return Stub(model, version, command[2])
        return None

    def _attend(self, process: psutil.Process, stub: Stub, reason: str) -> None:
        """Do what a dead stub asks for. Runs in a thread of its own.

        The server reaps a stub that it knows to be dead: one that it ended, one whose model it could not load. A
        ready model whose stub is dead is to be reloaded. A model that stays neither is lost: the server waits for ever
        for a stub that died while it loaded, and no call frees it.
        """
        deadline = time.monotonic() + LOST_S
        if self._stopped.wait(SETTLE_S):
            return
        while process.is_running() and not self._was_replaced(process, stub.model):
            if self._is_ready(stub.model, stub.version):
                self._reload(process, stub.model, reason)
            elif time.monotonic() > deadline:
                self._give_up(stub.model, reason)
                return
            if self._stopped.wait(POLL_S):
                return
        with self._lock:
            if stub.model not in self._reloading and stub.model not in self._lost:
                self._broken.pop(stub.model, None)

    def _was_replaced(self, process: psutil.Process, model: str) -> bool:
        with self._lock:
            return process.pid in self._replaced and model not in self._reloading

    def _is_ready(self, model: str, version: str) -> bool:
        try:
            return self._control is not None and self._control.is_ready(model, version)
        except self._on_error as error:
            if not self._stopped.is_set():
                logger.warning("model %r: the server does not say whether it is ready: %s", model, error)
            return False

    def _reload(self, process: psutil.Process, model: str, reason: str) -> None:
        """Unload and load a model until it answers."""
        with self._lock:
            if self._control is None or model in self._reloading:  # another dead stub of the model has it done
                return
            control = self._control
            self._reloading.add(model)
            old = {pid: stub for pid, stub in self._stubs.items() if stub.model == model}
            self._replaced |= old.keys()
        began = time.monotonic()
        logger.warning("model %r cannot answer: %s; loading it again", model, reason)
        loaded = False
        while not loaded and not self._stopped.wait(self._delay_s(model)):
            try:
                control.unload(model)
                control.load(model)
                loaded = True
            except self._on_error as error:
                if not self._stopped.is_set():
                    logger.error("model %r did not load again: %s", model, error)
                if process.is_running() and time.monotonic() - began > LOST_S:
                    self._give_up(model, reason)
                    break
        with self._lock:
            self._reloading.discard(model)
            if loaded:
                self._broken.pop(model, None)
                self.restorations += 1
        if loaded:
            logger.warning("model %r answers again after %.1f s", model, time.monotonic() - began)
            self._end_old(old)

    def _end_old(self, old: Mapping[int, Stub]) -> None:
        """End what is left of the stubs that were replaced.

        A request that was in hand when its stub died keeps the server from letting go of the unloaded model, with all
        its other stubs: they would idle for ever.
        """
        self._stopped.wait(LINGER_S)  # for requests that the others have in hand
        with self._lock:
            left = [pid for pid, stub in old.items() if self._stubs.get(pid) == stub]
            self._handled |= set(left)  # these deaths ask for nothing
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            (SHARED_MEMORY / old[pid].region).unlink(missing_ok=True)

    def _give_up(self, model: str, reason: str) -> None:
        with self._lock:
            self._lost[model] = reason

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
