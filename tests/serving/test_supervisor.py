"""How the supervisor hands a secret to the program that it runs."""

from __future__ import annotations

import os
import subprocess
import sys

from neurips16.serving.triton import supervisor

SECRET = "--token=0123456789abcdef"
# What the program is given, and what everybody can read of it.
SHOW = 'echo "$1 $2"; tr "\\0" " " < /proc/$$/cmdline'


def run(*start: str) -> list[str]:
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [
                sys.executable,
                *start,
                str(os.getpid()),
                str(write),
                "",
                "5",
                "/bin/sh",
                "-c",
                SHOW,
                "name",
                "@HIDDEN",
                "x@y",
            ],
            env={**os.environ, "HIDDEN": SECRET},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[write],
            text=True,
            timeout=60,
        )
    finally:
        os.close(read)
        os.close(write)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def test_the_program_gets_what_the_list_of_processes_does_not_show():
    given, shown = run("-I", "-S", supervisor.__file__)
    assert given == f"{SECRET} x@y"
    assert shown.split()[-2:] == ["@HIDDEN", "x@y"]
    assert SECRET not in shown


def test_where_that_cannot_be_it_says_so():
    forbidden = (
        f"import sys; sys.path.insert(0, {os.path.dirname(supervisor.__file__)!r}); import supervisor\n"
        "def refuse(request, pid): raise PermissionError(1, 'not permitted')\n"
        "supervisor._ptrace = refuse; supervisor.main()"
    )
    warning, given, shown = run("-c", forbidden)
    assert "the list of processes shows the admin token" in warning
    assert given == f"{SECRET} x@y"
    assert SECRET in shown


def test_a_program_that_is_not_there_is_an_exit_status():
    read, write = os.pipe()
    command = [sys.executable, supervisor.__file__, str(os.getpid()), str(write), "", "5", "/absent", "@HIDDEN"]
    done = subprocess.run(
        command, env={**os.environ, "HIDDEN": SECRET}, capture_output=True, text=True, pass_fds=[write]
    )
    os.close(read)
    os.close(write)
    assert done.returncode == 127
    assert "cannot start /absent" in done.stderr
