"""The server's process: started so that it ends with us, followed line by line, ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LAUNCHER = Path(__file__).parent / "launcher.py"
KILL_WAIT_S = 5.0


class ServerProcess:
    """A program in a process group of its own, whose output is handed on line by line.

    The group keeps Ctrl-C in a terminal from reaching the server and its stubs before we end them in order.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], on_line: Callable[[str], None]):
        self._command = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command]
        self._environment = dict(environment)
        self._on_line = on_line
        self._process: subprocess.Popen[str] | None = None
        self._failure: OSError | None = None
        self._started = threading.Event()
        # The kernel's parent-death signal follows the *thread* that started a process. This one lives as long as the
        # server does; the caller's might not.
        self._thread = threading.Thread(target=self._run, name="neurips16-server-log", daemon=True)

    def start(self) -> None:
        """Start the program.

        Raises:
            OSError: it could not be started.
        """
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def pid(self) -> int:
        """The server's process id (the launcher becomes the server, so it is the same)."""
        return self._running().pid

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._running().poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; the exit status, None when it still runs after ``timeout_s``."""
        try:
            return self._running().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End the server and all that it started, at once."""
        if _group_alive(self._running().pid):
            os.killpg(self._running().pid, signal.SIGKILL)

    def stop(self, grace_s: float) -> bool:
        """End the server in order, then by force what is left after ``grace_s``; True when no force was needed."""
        process = self._running()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        orderly = self.wait(grace_s) is not None
        # What it started is in its group: stubs end with it in order, and are ended here when they did not.
        deadline = time.monotonic() + (1.0 if orderly else 0.0)
        while _group_alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.kill()
        self.wait(KILL_WAIT_S)
        self._thread.join(KILL_WAIT_S)
        return orderly

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the server's process was not started: call start() first")
        return self._process

    def _run(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            self._failure = error
            self._started.set()
            return
        self._started.set()
        with self._process.stdout as output:  # type: ignore[union-attr]
            for line in output:
                self._on_line(line.rstrip("\n"))
        self._process.wait()


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
