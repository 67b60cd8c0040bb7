"""Statements of TPTP, the file that the prover gets of them, and the prover's answer."""

from __future__ import annotations

from pathlib import Path

from fuzz.harness import Harness

from neurips16.clients.protocol.errors import ClientError
from neurips16.clients.tasks.rank_premises.statements import check_characters, read_conjecture, read_premises
from neurips16.clients.tasks.rank_premises.tptp import used_axioms, write_problem

ALPHABET = frozenset(map(chr, range(32, 127)))


def read(data: bytes, folder: Path) -> object:
    """As `neurips16 prove` does."""
    path = folder / "statements.p"
    path.write_bytes(data)
    used_axioms(data.decode("utf-8", errors="replace").split("\n"))
    premises = read_premises(path)
    write_problem(premises[0], premises[1:])
    check_characters(premises, ALPHABET)
    return read_conjecture(path)


def seeds() -> list[bytes]:
    """Statements, a proof, and quotes and brackets that do not end."""
    statements = b"% a comment\nfof(a, axiom, ! [X] : p(X, 0)).\nfof('b c', axiom, q).\n\n~ p(x) & r(12)\n"
    proof = b"fof(a, axiom, p, file('x.p', a)).\nfof(c_1, plain, ($false), inference(cn,[status(thm)],[a])).\n"
    broken = [b"fof(a, axiom, 'p", b"(" * 5000, b"fof(a, axiom, p). fof(b, axiom, q).", b"\xff\xfe", b""]
    return [statements, proof, *broken]


HARNESS = Harness(read, (ClientError,), seeds)
