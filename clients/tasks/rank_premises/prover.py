"""The E theorem prover: run on a conjecture and premises, ended in time, its proof read."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from neurips16.clients.protocol.errors import InvalidInputError, ProverError, ProverMissingError
from neurips16.clients.tasks.rank_premises.statements import Statement, parse_all
from neurips16.clients.tasks.rank_premises.tptp import Problem, used_axioms, write_problem

PROVER = "eprover"
MEMORY_MB = 2048
TIMEOUT = "Timeout"  # the status when it was ended by us
STOPPED = "User"  # of the SZS ontology: ended since another attempt was through
_LOOK_S = 0.05  # how often an attempt looks whether another one is through

_STATUS = re.compile(r"^# SZS status (\w+)", re.MULTILINE)
_PROOF = re.compile(r"^# SZS output start CNFRefutation.*?\n(.*?)^# SZS output end", re.MULTILINE | re.DOTALL)
# E's exit codes where it gave up before it could print a status.
_STATUS_BY_EXIT = {2: "MemoryOut", 7: TIMEOUT, 8: "ResourceOut"}


@dataclass(frozen=True)
class ProofResult:
    """What the prover said."""

    status: str  # of the SZS ontology: Theorem, CounterSatisfiable, GaveUp, ResourceOut, Timeout, ...
    proved: bool  # the status is Theorem; a contradiction among the premises is no proof of the conjecture
    used: tuple[str, ...]  # names of the premises in the proof
    used_places: tuple[int, ...]  # where they are in the list of premises that was given
    seconds: float  # by the clock on the wall
    text: str  # the proof, in TSTP form; "" if there is none


def find_prover(prover: str = PROVER) -> str:
    """Where the prover is.

    Raises:
        ProverMissingError: nowhere.
    """
    if path := shutil.which(prover):
        return path
    raise ProverMissingError(
        f"the E theorem prover ({prover}) is not installed: `apt-get install eprover`, or see https://eprover.org"
    )


def prove(
    conjecture: str | Statement,
    premises: Sequence[str | Statement],
    *,
    timeout_s: float = 5.0,
    cpu_s: float | None = None,
    prover: str = PROVER,
    options: Sequence[str] = (),
) -> ProofResult:
    """Try to prove a conjecture from premises.

    Args:
        conjecture: ``fof(name, role, formula).`` or a bare formula.
        premises: the same. One with the conjecture's own name or formula is left out: it would prove itself.
        timeout_s: time on the wall; then the prover and all that it started are killed.
        cpu_s: seconds of a processor, which E counts itself, if not as many as ``timeout_s``.
        prover: E's name or path.
        options: more of E's own, such as ``--sine=Auto``, its selection of axioms.

    Raises:
        InvalidInputError: a statement is empty, or the time is not over 0.
        ProverMissingError: E is not installed.
        ProverError: E did not accept the problem, or crashed.
    """
    (result,) = prove_slices(
        conjecture, premises, [len(premises)], timeout_s=timeout_s, cpu_s=cpu_s, prover=prover, options=options
    )
    return result


def prove_slices(
    conjecture: str | Statement,
    premises: Sequence[str | Statement],
    tops: Sequence[int],
    *,
    timeout_s: float = 5.0,
    cpu_s: float | None = None,
    prover: str = PROVER,
    options: Sequence[str] = (),
) -> list[ProofResult]:
    """Try to prove a conjecture from several numbers of the first premises at once, until one is through.

    All run at the same time under one limit. The first proof ends the others, whose status then is `STOPPED`.

    Args:
        conjecture: see `prove`.
        premises: the same, best first.
        tops: how many of the first premises each attempt has.
        timeout_s: time on the wall for all of them.
        cpu_s: see `prove`.
        prover: see `prove`.
        options: see `prove`.

    Returns:
        One result for each of ``tops``.

    Raises:
        InvalidInputError: a statement is empty, or the time is not over 0.
        ProverMissingError: E is not installed.
        ProverError: E did not accept a problem, or crashed.
    """
    if not 0 < timeout_s < math.inf:
        raise InvalidInputError(f"the prover's time is a finite number of seconds over 0, got {timeout_s}")
    goal = conjecture if isinstance(conjecture, Statement) else Statement.parse(conjecture, where="the conjecture")
    given = parse_all(premises)
    command = [find_prover(prover), *_options(timeout_s if cpu_s is None else cpu_s), *options]
    proved = threading.Event()
    with tempfile.TemporaryDirectory(prefix="neurips16-prove-") as folder:

        def attempt(number: int) -> ProofResult:
            kept = [place for place, premise in enumerate(given[: tops[number]]) if not premise.is_same_as(goal)]
            problem = write_problem(goal, [given[place] for place in kept])
            path = Path(folder) / f"problem{number}.p"
            path.write_text(problem.text, encoding="utf-8")
            status, output, seconds = _run([*command, str(path)], timeout_s, proved)
            result = _result(status, output, seconds, problem, kept, given)
            if result.proved:
                proved.set()
            return result

        with ThreadPoolExecutor(max(1, len(tops))) as pool:
            return list(pool.map(attempt, range(len(tops))))


def _result(
    status: str, output: str, seconds: float, problem: Problem, kept: Sequence[int], given: Sequence[Statement]
) -> ProofResult:
    proof = _PROOF.search(output)
    if status != "Theorem" or proof is None:
        return ProofResult(status, False, (), (), seconds, "")
    axioms = {problem.places[name]: name for name in used_axioms(proof[1].splitlines()) if name in problem.places}
    places = sorted(axioms)
    return ProofResult(
        status,
        True,
        tuple(given[kept[place]].name or axioms[place] for place in places),
        tuple(kept[place] for place in places),
        seconds,
        proof[1],
    )


def _options(cpu_s: float) -> list[str]:
    return [
        "--auto-schedule",
        f"--cpu-limit={math.ceil(cpu_s)}",
        f"--memory-limit={MEMORY_MB}",
        "--silent",
        "--proof-object",
        "--tstp-format",
    ]


def _run(command: list[str], timeout_s: float, stop: threading.Event) -> tuple[str, str, float]:
    """The SZS status, the output and the seconds that it took; given up when ``stop`` is set."""
    started = time.monotonic()
    # A session of its own: E starts children of its own, and all must go when the time is over.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while True:
            left = started + timeout_s - time.monotonic()
            try:
                answer = process.communicate(timeout=max(0.0, min(left, _LOOK_S)))
                output, complaint = (part.decode(errors="replace") for part in answer)
                break
            except subprocess.TimeoutExpired:
                if stop.is_set() or left <= _LOOK_S:
                    return STOPPED if stop.is_set() else TIMEOUT, "", time.monotonic() - started
    finally:
        with contextlib.suppress(ProcessLookupError):  # all have ended by themselves
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    seconds = time.monotonic() - started
    if match := _STATUS.search(output):
        return match[1], output, seconds
    if process.returncode in _STATUS_BY_EXIT:
        return _STATUS_BY_EXIT[process.returncode], output, seconds
    said = " ".join(complaint.split()) or f"exit status {process.returncode}"
    raise ProverError(f"{command[0]} could not work on the problem: {said}")
