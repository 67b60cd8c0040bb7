"""The server's process: started so that it ends with us, followed line by line, ended in order or by force."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KILL_WAIT_S = 5.0
STANDS_FOR = "@"  # `@NAME` as an argument is the value of the environment variable NAME, and shown as `@NAME`


class ServerProcess:
    """A program in a session of its own, whose output is handed on line by line.

    The session keeps Ctrl-C in a terminal from reaching the server before we end it in order.

    Args:
        command: the program and its arguments.
        environment: its environment variables.
        preload: our library that is loaded into the program (`preload.cc`): it ends with us, and fills in the
            arguments that stand for others.
        grace_s: how long the program may take to end in order.
        on_line: called with each line of its output, from another thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        preload: Path,
        grace_s: float,
        on_line: Callable[[str], None],
    ):
        self._command = list(command)
        # By its bare name, found through its folder: a blank in the path would part it in two.
        preloaded = [*filter(None, [environment.get("LD_PRELOAD")]), preload.name]
        folders = [str(preload.parent), *filter(None, [environment.get("LD_LIBRARY_PATH")])]
        self._environment = {
            **environment,
            "LD_PRELOAD": ":".join(preloaded),
            "LD_LIBRARY_PATH": os.pathsep.join(folders),
            "NEURIPS16_PARENT": str(os.getpid()),
        }
        self._grace_s = grace_s
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
        """The server's process id."""
        return self._running().pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal, None while it runs."""
        return self._running().poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; the exit status, None when it still runs after ``timeout_s``."""
        try:
            return self._running().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> bool:
        """End the server in order, or by force when that takes too long; True when no force was needed."""
        process = self._running()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        orderly = self.wait(self._grace_s) is not None
        self.kill()  # or what is left of it
        self.wait(KILL_WAIT_S)
        self._thread.join(KILL_WAIT_S)
        return orderly

    def kill(self) -> None:
        """End the server, and whatever it may have started, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the server's process was not started: call start() first")
        return self._process

    def _run(self) -> None:
        try:
            process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,  # what it writes is its owner's alone
                text=True,
                errors="replace",
            )
        except OSError as error:
            self._failure = error
            self._started.set()
            return
        self._process = process
        self._started.set()
        with process.stdout as output:  # type: ignore[union-attr]
            for line in output:
                self._on_line(line.rstrip("\n"))
        process.wait()
