"""Runs a program that ends when its parent does: `python launcher.py PARENT_PID PROGRAM ARGUMENT…`.

A file of its own, run by path: the request to the kernel has to be made in the child, and Python code between fork
and exec in a process with threads (gRPC has many) may deadlock.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGTERM at the parent's death, then become PROGRAM."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the request was made
        raise SystemExit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
