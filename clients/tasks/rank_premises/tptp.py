"""Problems in TPTP form for a theorem prover, and the proofs (TSTP) that it prints.

The statements are Mizar's in first-order logic; E takes them once bare numerals are renamed (``7`` to ``n7``; else it
types them as integers) and said to be different from one another (``n1 != n7``).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from neurips16.clients.tasks.rank_premises.statements import Statement

_NAME = re.compile(r"[a-z][A-Za-z0-9_]*|[0-9]+|'(?:[^'\\]|\\.)+'")
# Quoted atoms come first, so that a numeral inside one is left alone.
_NUMERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<![A-Za-z0-9_$])(?P<numeral>[0-9]+)(?![A-Za-z0-9_])""")
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[A-Za-z0-9_]+")
_LINE = re.compile(r"(?:fof|cnf)\((.*)\)\.")
_OPENING, _CLOSING = "([", ")]"


@dataclass(frozen=True)
class Problem:
    """A problem file, and which premise each of its axioms is."""

    text: str
    places: dict[str, int]  # name of an axiom in the text -> place in the list of premises


def write_problem(conjecture: Statement, premises: Sequence[Statement]) -> Problem:
    """The TPTP problem that asks for a proof of a conjecture from premises.

    A premise without a name, or with one that is taken or that TPTP does not allow, is called ``premise_PLACE``.
    """
    statements = [conjecture, *premises]
    prefix = _free_prefix(statements)
    taken = {conjecture.name} if _NAME.fullmatch(conjecture.name) else {"the_conjecture"}
    (goal,) = taken
    lines = [f"fof({goal}, conjecture, {rename_numerals(conjecture.formula, prefix)})."]
    places = {}
    for place, premise in enumerate(premises):
        name = premise.name if _NAME.fullmatch(premise.name) else f"premise_{place}"
        name = _free_name(name if name not in taken else f"premise_{place}", taken)
        taken.add(name)
        places[name] = place
        lines.append(f"fof({name}, axiom, {rename_numerals(premise.formula, prefix)}).")
    numerals = sorted({n for statement in statements for n in find_numerals(statement.formula)}, key=int)
    for first, second in itertools.combinations(numerals, 2):
        name = _free_name(f"distinct_{first}_{second}", taken)
        taken.add(name)
        lines.append(f"fof({name}, axiom, {prefix}{first} != {prefix}{second}).")
    return Problem("\n".join(lines) + "\n", places)


def find_numerals(formula: str) -> Iterator[str]:
    """The bare numerals of a formula, in order, repeated ones too."""
    return (match["numeral"] for match in _NUMERAL.finditer(formula) if match["numeral"])


def rename_numerals(formula: str, prefix: str = "n") -> str:
    """Put a prefix before each bare numeral: those with no letter, digit or ``_`` around them."""
    return _NUMERAL.sub(lambda match: prefix + match[0] if match["numeral"] else match[0], formula)


def used_axioms(proof: Iterable[str]) -> list[str]:
    """The names of the axioms that a proof in TSTP form depends on, in the order in which it names them.

    Args:
        proof: its lines; the last that derives ``$false`` ends it.
    """
    parents: dict[str, list[str]] = {}
    axioms: list[str] = []
    last = ""
    for line in proof:
        if not (match := _LINE.fullmatch(line.strip())):
            continue
        name, role, formula, source, *_ = [*_arguments(match[1]), "", "", "", ""]
        if source.startswith("file("):
            parents[name] = []
            if role != "conjecture":
                axioms.append(name)
        else:
            parents[name] = [token for token in _TOKEN.findall(source) if token in parents]
        if formula.strip("() ") == "$false":
            last = name
    reached: set[str] = set()
    ahead = [last] if last else []
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += parents[name]
    return [name for name in axioms if name in reached]


def _arguments(text: str) -> list[str]:
    """Split at the commas that are in no bracket and in no quotes."""
    parts, depth, start, quoted = [], 0, 0, False
    for at, character in enumerate(text):
        if character == "'" and (at == 0 or text[at - 1] != "\\"):
            quoted = not quoted
        elif quoted:
            continue
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _free_prefix(statements: Sequence[Statement]) -> str:
    """``n``, or more of it where the statements have symbols such as ``n7`` of their own."""
    own = {token for statement in statements for token in re.findall(r"\bn+[0-9]+\b", statement.formula)}
    prefix = "n"
    while any(re.fullmatch(prefix + "[0-9]+", token) for token in own):
        prefix += "n"
    return prefix


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
