"""The server's process: started so that it ends with us, followed line by line, ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SUPERVISOR = Path(__file__).parent / "supervisor.py"
KILL_WAIT_S = 5.0


class ServerProcess:
    """A program under a supervisor, in a session of its own, whose output is handed on line by line.

    The session keeps Ctrl-C in a terminal from reaching the server and its stubs before we end them in order.

    Args:
        command: the program and its arguments.
        environment: its environment variables.
        leftovers: what to remove when this process dies and cannot, as the supervisor takes it.
        grace_s: how long the program may take to end in order.
        on_line: called with each line of its output, from another thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        leftovers: Sequence[str],
        grace_s: float,
        on_line: Callable[[str], None],
    ):
        self._command = list(command)
        self._environment = dict(environment)
        self._leftovers = ":".join(leftovers)
        self._grace_s = grace_s
        self._on_line = on_line
        self._process: subprocess.Popen[str] | None = None
        self._server_pid = 0
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
        self._running()
        return self._server_pid

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
        """End the server in order, or by force when that takes too long; True when no force was needed.

        The supervisor ends in either case after the stubs have.
        """
        process = self._running()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        orderly = self.wait(self._grace_s) is not None
        if not orderly or process.returncode == -signal.SIGKILL:  # the supervisor itself may have been killed
            self.kill()
            self.wait(KILL_WAIT_S)
        self._thread.join(KILL_WAIT_S)
        return orderly

    def kill(self) -> None:
        """End the server and its stubs at once."""
        if self._server_pid:  # 0 would mean our own group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server_pid, signal.SIGKILL)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the server's process was not started: call start() first")
        return self._process

    def _run(self) -> None:
        read, write = os.pipe()
        # -I -S: nothing of the environment's packages is imported into a process that only waits.
        supervisor = [sys.executable, "-I", "-S", str(SUPERVISOR), str(os.getpid()), str(write), self._leftovers]
        with open(read) as pid_pipe:
            try:
                process = subprocess.Popen(
                    [*supervisor, str(self._grace_s), *self._command],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    umask=0o077,  # what it writes, and what it shares with its own processes, is its owner's alone
                    pass_fds=[write],
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                self._failure = error
                self._started.set()
                return
            finally:
                os.close(write)
            self._server_pid = int(pid_pipe.readline() or process.pid)
        self._process = process
        self._started.set()
        with process.stdout as output:  # type: ignore[union-attr]
            for line in output:
                self._on_line(line.rstrip("\n"))
        process.wait()
