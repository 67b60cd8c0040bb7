"""The embedded engine in a process of its own, which can be left at any moment.

Daft takes SIGINT for itself, whatever the program around it does with the signal, and an iteration that is left before
its end may keep the interpreter from ending. Neither harms a process that has nothing else to do: it is in a session of
its own, which the terminal's Ctrl-C does not reach, and is killed with its workers when it is left, or when the process
that started it is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from neurips16.clients.protocol.errors import ScoringError
from neurips16.clients.scoring.worker import ShardOutcome


class EngineProcess:
    """A running engine; on leaving the context it and all of its workers are gone."""

    def __init__(self, work: Any) -> None:
        """Start it.

        Args:
            work: the arguments of `neurips16.clients.scoring.engine.run_embedded`.
        """
        import daft.pickle  # a task may be defined in the script that runs

        reader, writer = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(writer)],
                stdin=subprocess.PIPE,
                pass_fds=[writer],
                start_new_session=True,
            )
        finally:
            os.close(writer)
        self._answers = os.fdopen(reader, "rb")
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once: its status is told when it is asked
            pickle.dump(sys.path, self._process.stdin)
            self._process.stdin.write(daft.pickle.dumps(work))
            self._process.stdin.flush()  # but not closed: its end tells the process that this one is gone

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # all have ended by themselves
            os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._answers.close()
        self._process.wait()

    def outcomes(self) -> Iterator[ShardOutcome]:
        """What became of each shard, when it is done, in order.

        Raises:
            ScoringError: a worker or the engine failed.
        """
        while True:
            try:
                answer = pickle.load(self._answers)  # nosec B301: of our own process
            except (EOFError, pickle.UnpicklingError) as error:
                status = self._process.wait()
                raise ScoringError(
                    f"the engine ended with status {status}; what is done is kept: run this again"
                ) from error
            if answer is None:
                return
            if isinstance(answer, str):
                raise ScoringError(answer)
            yield answer


def _end_with(parent: BinaryIO) -> None:
    parent.read()
    os.killpg(0, signal.SIGKILL)


def _serve(answers: BinaryIO) -> None:
    sys.path[:] = pickle.load(sys.stdin.buffer)  # nosec B301: of the process that started this one
    logging.getLogger().addHandler(logging.NullHandler())  # the error that is answered says what Daft would log
    from neurips16.clients.scoring.engine import run_embedded

    job, shards, workers = pickle.load(sys.stdin.buffer)  # nosec B301: the same
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()

    def send(answer: ShardOutcome | str | None) -> None:
        pickle.dump(answer, answers)
        answers.flush()

    try:
        for outcome in run_embedded(job, shards, workers):
            send(outcome)
        send(None)
    except ScoringError as error:
        send(str(error))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "wb") as pipe:
        _serve(pipe)
    os._exit(0)  # whatever threads of the engine are left
