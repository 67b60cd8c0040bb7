import os
import shutil
import stat
import time

import pytest

from neurips16.clients.protocol.errors import InvalidInputError, ProverError, ProverMissingError
from neurips16.clients.tasks.rank_premises.prover import STOPPED, find_prover, prove, prove_slices

needs_e = pytest.mark.skipif(shutil.which("eprover") is None, reason="needs the E prover: apt-get install eprover")
GOAL = "fof(goal, axiom, (! [A] : (p(A, 1) => r(A, 1)) ) )."
PREMISES = [
    "fof(useless, axiom, (! [A] : s(A)) ).",
    "fof(first, axiom, (! [A, B] : (p(A, B) => q(A, B)) ) ).",
    "(! [A, B] : (q(A, B) => r(A, B)) )",
]


@needs_e
def test_proof_and_what_it_used():
    result = prove(GOAL, PREMISES)
    assert result.proved
    assert result.status == "Theorem"
    assert result.used_places == (1, 2)
    assert result.used == ("first", "premise_2")
    assert "$false" in result.text
    assert 0 < result.seconds < 5


@needs_e
def test_the_conjecture_does_not_prove_itself():
    for itself in (GOAL, GOAL.replace("goal", "other"), "fof(goal, axiom, $false)."):
        result = prove(GOAL, [*PREMISES[:2], itself])
        assert not result.proved
        assert result.status == "CounterSatisfiable"
        assert result.used == ()
    assert prove(GOAL, [GOAL, *PREMISES]).used_places == (2, 3)


@needs_e
def test_different_numerals_are_different():
    result = prove("~ (1=7)", ["p(1)"])
    assert result.proved
    assert result.used == ()
    assert not prove("1=7", ["p(1)"]).proved


@needs_e
def test_a_contradiction_is_no_proof():
    result = prove("p(a)", ["q(b)", "~ q(b)"])
    assert result.status == "ContradictoryAxioms"
    assert not result.proved


@needs_e
def test_from_nothing():
    assert prove("p(a) | ~ p(a)", []).proved


@needs_e
def test_a_formula_that_e_cannot_read():
    with pytest.raises(ProverError, match=r"could not work on the problem: .*problem0\.p:1") as caught:
        prove("p(a) & p(a,b) & 'č' = p(a)", [])
    assert "\n" not in str(caught.value)


@needs_e
def test_time_is_up():
    # The word problem of groups in a form that E does not finish in half a second.
    hard = "(! [A] : (m(A, m(A, A)) = e) ) => (! [A, B] : (c(c(A, B), B) = e) )"
    axioms = [
        "! [A, B, C] : m(m(A, B), C) = m(A, m(B, C))",
        "! [A] : m(e, A) = A",
        "! [A] : m(i(A), A) = e",
        "! [A, B] : c(A, B) = m(A, m(B, m(i(i(A)), B)))",
    ]
    started = time.monotonic()
    result = prove(hard, axioms, timeout_s=0.5)
    assert not result.proved
    assert result.status in ("Timeout", "ResourceOut")
    assert time.monotonic() - started < 3


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_our_own_limit_ends_the_prover_and_its_children(tmp_path):
    child = tmp_path / "child"
    prover = script(tmp_path / "prover", f"sleep 60 & echo $! > {child}; wait")
    started = time.monotonic()
    result = prove(GOAL, PREMISES, timeout_s=0.5, prover=prover)
    assert (result.status, result.proved, result.text) == ("Timeout", False, "")
    assert 0.4 < time.monotonic() - started < 5
    deadline = time.monotonic() + 5
    while _is_alive(int(child.read_text())):
        assert time.monotonic() < deadline, "the child outlived its limit"
        time.sleep(0.02)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_e_gives_up_without_a_status(tmp_path):
    assert prove(GOAL, [], prover=script(tmp_path / "a", "exit 8")).status == "ResourceOut"
    with pytest.raises(ProverError, match="exit status 9"):
        prove(GOAL, [], prover=script(tmp_path / "b", "exit 9"))
    with pytest.raises(ProverError, match="oh no"):
        prove(GOAL, [], prover=script(tmp_path / "c", "echo oh no >&2; exit 1"))


def test_missing_prover(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProverMissingError, match="apt-get install eprover") as caught:
        find_prover()
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf")])
def test_time_limits_that_are_none(timeout_s):
    with pytest.raises(InvalidInputError, match="seconds over 0"):
        prove(GOAL, PREMISES, timeout_s=timeout_s)


@needs_e
def test_slices_run_together_and_the_first_proof_ends_the_others():
    """The first two premises do not suffice, and alone they would keep E busy for ever."""
    endless = [
        "! [X] : (n(X) => n(s(X)))",
        "n(z)",
        "! [X] : (n(X) => m(X, f(X, s(X))))",
        "! [X, Y] : (m(X, Y) => m(Y, X))",
    ]
    wanted = "goal_holds"
    started = time.monotonic()
    results = prove_slices(
        wanted, [*endless, wanted.replace("goal", "q") + " => goal_holds", "q_holds"], [4, 6], timeout_s=20
    )
    assert time.monotonic() - started < 10
    assert [r.proved for r in results] == [False, True]
    assert results[0].status in (STOPPED, "CounterSatisfiable")
    assert results[1].used_places == (4, 5)
