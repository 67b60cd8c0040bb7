"""Runs the server for us and outlives us: `python supervisor.py PARENT_PID PID_FD LEFTOVERS GRACE_S PROGRAM ARGUMENT…`.

A server that is killed, or that aborts, leaves stubs behind, some of which never notice. This process is the server's
parent and the heir of its stubs. It ends with the server, as the server did, after it has ended the stubs. When our
own process dies without a word, it ends the server too, and removes LEFTOVERS (paths, separated by colons; an
asterisk at the end of one stands for anything).

An ARGUMENT `@NAME` stands for the value of the environment variable NAME, and the program gets that value, while the
list of processes, which everybody can read, shows `@NAME`: an environment is read by its owner only.

A file of its own, run by path and with the standard library only: it has one thread, so that what must happen
between fork and exec can be written in Python, and it is small, for as long as the server runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import resource
import shutil
import signal
import struct
import sys
import time
from typing import BinaryIO

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PTRACE_TRACEME, PTRACE_DETACH = 0, 17
STANDS_FOR = "@"
STUB_GRACE_S = 1.0  # a stub that ends by itself needs about half of this
STUBLESS_S = 2.5  # an orderly end takes less than half of this once the last stub is gone
LOOK_S = 0.02


def main() -> None:
    """Start PROGRAM, write its process id to PID_FD, wait for its end or for ours."""
    parent, pid_fd, leftovers, grace_s, program = (
        int(sys.argv[1]),
        int(sys.argv[2]),
        sys.argv[3].split(":"),
        float(sys.argv[4]),
        sys.argv[5:],
    )
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:  # it died before the request was made
        raise SystemExit(1)
    traced, tell = os.pipe()
    server = os.fork()
    if server == 0:
        _become(program, signals, tell)
    os.close(tell)
    os.write(pid_fd, f"{server}\n".encode())
    os.close(pid_fd)
    status = _fill_in(server, program) if os.read(traced, 1) else None
    if status is None:
        status = _wait(server, grace_s)
    _end_stubs(server)
    if os.getppid() != parent:
        _remove(leftovers)
    _end_as(status)


def _become(program: list[str], signals: set[signal.Signals], tell: int) -> None:
    os.setpgid(0, 0)  # the group that the stubs will be of, and this process is not
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    if any(word.startswith(STANDS_FOR) for word in program):
        try:
            _ptrace(PTRACE_TRACEME, 0)  # exec stops us then, for `_fill_in`
            os.write(tell, b"1")
        except OSError as error:
            os.write(2, f"the list of processes shows the admin token: ptrace is not permitted ({error})\n".encode())
            program = [os.environ[word[1:]] if word.startswith(STANDS_FOR) else word for word in program]
    try:
        os.execv(program[0], program)  # nosec B606: no shell is wanted
    except OSError as error:
        os.write(2, f"cannot start {program[0]}: {error}\n".encode())
        os._exit(127)


def _fill_in(server: int, program: list[str]) -> int | None:
    """Point the arguments that stand for others at their values, before the program's first instruction.

    Returns:
        The exit status when the program has ended already, else None.
    """
    _, status = os.waitpid(server, 0)
    if not os.WIFSTOPPED(status):
        return status
    try:
        with open(f"/proc/{server}/stat") as stat:
            stack = int(stat.read().rpartition(")")[2].split()[25])  # where exec has put argc, argv and envp
        with open(f"/proc/{server}/mem", "r+b", buffering=0) as memory:
            environment = stack + 8 * (1 + len(program) + 1)
            values = {}
            while pointer := _read_word(memory, environment):
                environment += 8
                memory.seek(pointer)
                name = memory.read(64).partition(b"=")[0].decode(errors="replace")
                values[name] = pointer + len(name) + 1
            for place, word in enumerate(program):
                if word.startswith(STANDS_FOR):
                    memory.seek(stack + 8 * (1 + place))
                    memory.write(struct.pack("Q", values[word[1:]]))
    except BaseException:
        os.kill(server, signal.SIGKILL)
        raise
    _ptrace(PTRACE_DETACH, server)
    return None


def _read_word(memory: BinaryIO, address: int) -> int:
    memory.seek(address)
    return struct.unpack("Q", memory.read(8))[0]


def _wait(server: int, grace_s: float) -> int:
    """Wait for the server's end; pass on a request to end, and enforce it.

    It is enforced after ``grace_s``, or before that once the server has no stub any more, and so nothing to wait for:
    it may hold on to a model for ever, one of whose stubs had died with a request in hand.
    """
    deadline = stubless_since = None
    while True:
        found, status = os.waitpid(server, os.WNOHANG)
        if found:
            return status
        now = time.monotonic()
        if deadline is not None:
            stubless_since = None if _has_stubs(server) else stubless_since or now
            if now > deadline or (stubless_since is not None and now - stubless_since > STUBLESS_S):
                os.kill(server, signal.SIGKILL)
        news = signal.sigtimedwait(
            {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}, 3600.0 if deadline is None else STUBLESS_S / 10
        )
        if news is not None and news.si_signo != signal.SIGCHLD and deadline is None:
            os.kill(server, signal.SIGTERM)
            deadline = time.monotonic() + grace_s


def _has_stubs(server: int) -> bool:
    """Whether a live process other than the server is of its group."""
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or int(entry) == server:
            continue
        try:
            with open(f"/proc/{entry}/stat") as stat:
                state, _, group = stat.read().rpartition(")")[2].split()[:3]
        except OSError:  # ended at this moment
            continue
        if int(group) == server and state != "Z":
            return True
    return False


def _end_stubs(group: int) -> None:
    """Wait a moment for the stubs to end by themselves, end the others, and reap all: we are their heir."""
    deadline = time.monotonic() + STUB_GRACE_S
    killed = False
    while True:
        try:
            found, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if found:
            continue
        if not killed and time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            killed = True
        time.sleep(LOOK_S)


def _remove(leftovers: list[str]) -> None:
    for pattern in leftovers:
        for path in glob.glob(pattern):
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # another user's, who gave it such a name
                    os.unlink(path)


def _end_as(status: int) -> None:
    """End as the server did: with its exit status, or by its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    raise SystemExit(os.WEXITSTATUS(status))


def _ptrace(request: int, pid: int) -> None:
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if ptrace(request, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, int(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


if __name__ == "__main__":
    main()
