"""Statements of first-order logic as people give them: problem files of TPTP, single statements, or bare formulas.

To the models a statement is its formula without white space; what its line looked like is kept for answers and errors.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from neurips16.clients.protocol.errors import InvalidInputError, InvalidStatementError
from neurips16.clients.tasks.rank_premises.tptp_syntax import (
    AnnotatedFormula,
    Include,
    is_annotated,
    parse_formula,
    parse_tptp,
)

_COMMENT = "%"  # as TPTP has it
_WHITE_SPACE = " \t\r\n\v\f"  # of ASCII only: any other is a character that no model knows
_GOALS = ("conjecture", "negated_conjecture")
_MAX_INCLUDES = 1000
_NO_WHITE_SPACE = str.maketrans("", "", _WHITE_SPACE)


@dataclass(frozen=True)
class Statement:
    """One statement, parsed."""

    text: str  # as given
    index: int  # zero-based line of its file, or position in its list
    where: str  # for errors: "line 3 of premises.p"
    name: str  # "" for a bare formula
    formula: str  # on one line, without the wrapper and comments; a clause's variables are bound in it
    role: str = ""  # "" for a bare formula

    @cached_property
    def code(self) -> str:
        """The formula without white space: what a model reads, and what makes two statements the same."""
        return self.formula.translate(_NO_WHITE_SPACE)

    def is_same_as(self, other: Statement) -> bool:
        """Whether both state the same, or go by the same name."""
        return self.code == other.code or (bool(self.name) and self.name == other.name)

    @classmethod
    def parse(cls, text: str, *, index: int = 0, where: str = "the statement", is_line: bool = False) -> Statement:
        """Take the wrapper off.

        Args:
            text: the statement.
            index: see `Statement.index`.
            where: what it is called in errors.
            is_line: ``where`` tells the line already.

        Raises:
            InvalidStatementError: it is no statement of TPTP, or several.
        """
        if not text.strip(_WHITE_SPACE):
            raise InvalidStatementError(f"{where} is empty: give `fof(name, axiom, formula).` or a formula")
        if not is_annotated(text):
            return cls(text, index, where, "", parse_formula(text, where, is_line=is_line))
        found = list(parse_tptp(text, where, is_line=is_line))
        if len(found) != 1:
            raise InvalidStatementError(f"{where} holds {'several statements' if found else 'no statement'}: give one")
        if isinstance(found[0], Include):
            raise InvalidStatementError(f"{where} includes a file, which only a file can: give one statement")
        return cls._of(found[0], text, index, where)

    @classmethod
    def _of(cls, found: AnnotatedFormula, text: str, index: int, where: str) -> Statement:
        return cls(text, index, where, found.name, found.formula, found.role)


def parse_all(statements: Iterable[str | Statement]) -> list[Statement]:
    """Parse what is not parsed yet; positions in the list become indexes.

    Raises:
        InvalidStatementError: one is empty.
    """
    return [
        item if isinstance(item, Statement) else Statement.parse(item, index=index, where=f"premise {index}")
        for index, item in enumerate(statements)
    ]


def check_characters(statements: Sequence[Statement], alphabet: frozenset[str]) -> None:
    """See that a model knows every character.

    Raises:
        InvalidStatementError: it does not; the first such character, its place, and how many statements have one.
    """
    wrong = [statement for statement in statements if not alphabet.issuperset(statement.code)]
    if not wrong:
        return
    first = wrong[0]
    character = next(c for c in first.code if c not in alphabet)
    at = first.text.index(character, max(0, first.text.find(first.formula)))  # as written, where it is on one line
    column = at - first.text.rfind("\n", 0, at)
    row = f"line {first.text.count(chr(10), 0, at) + 1}, " if "\n" in first.text.strip(_WHITE_SPACE) else ""
    others = f"; {len(wrong) - 1} more statements have such characters" if len(wrong) > 1 else ""
    raise InvalidStatementError(
        f"{first.where}, {row}column {column}: the model does not know the character {character!r} "
        f"(U+{ord(character):04X}); its alphabet is {''.join(sorted(alphabet))}{others}"
    )


def read_conjecture(path: Path) -> Statement:
    """The conjecture of a problem file, or the one statement of a file, which may take several lines.

    Raises:
        InvalidInputError: the file cannot be read, is not UTF-8, or holds no or several statements.
    """
    return read_problem(path)[0]


def read_problem(path: Path) -> tuple[Statement, list[Statement]]:
    """The conjecture of a problem file, and its axioms: those of the files that it includes as well.

    Files are looked for beside the one that includes them, then below the folder in the variable ``TPTP``.

    Raises:
        InvalidInputError: a file cannot be read, is not UTF-8 or no TPTP, or holds no or several conjectures.
    """
    text = _text(path)
    where = f"the conjecture in {path}"
    if not is_annotated(text):
        text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(_COMMENT))
        if not text.strip(_WHITE_SPACE):
            raise InvalidStatementError(f"the conjecture is empty: {path} holds no statement")
        return Statement.parse(text, where=where), []
    statements = _statements(text, path)
    goals = [one for one in statements if one.role == "conjecture"] or (statements if len(statements) == 1 else [])
    if len(goals) != 1:
        what = f"{len(goals)} conjectures" if goals else "several statements, of which none is a conjecture"
        raise InvalidStatementError(f"{path} holds {what}: one is to be the conjecture")
    return goals[0], [one for one in statements if one is not goals[0] and one.role not in _GOALS]


def read_premises(path: Path) -> list[Statement]:
    """The statements of a problem file that are no conjecture, or of a file with one statement a line.

    Raises:
        InvalidInputError: the file cannot be read, is not UTF-8, is no TPTP, or holds no statement.
    """
    text = _text(path)
    if is_annotated(text):
        try:
            found = [one for one in _statements(text, path) if one.role not in _GOALS]
        except InvalidStatementError:
            try:
                return parse_lines(text.split("\n"), str(path))  # bare formulas may stand between
            except InvalidInputError:
                pass  # the place in the file says more
            raise
        if not found:
            raise InvalidInputError(f"no premises: {path} holds no statement but conjectures")
        return found
    return parse_lines(text.split("\n"), str(path))


def _statements(text: str, path: Path, index: int | None = None, above: tuple[Path, ...] = ()) -> list[Statement]:
    """The statements of a problem file, those that it includes in their places.

    Args:
        text: of the file.
        path: of the file.
        index: of all statements, for a file that is included: the line that does so.
        above: the files that include this one.
    """
    found: list[Statement] = []
    lines = text.split("\n")
    parsed = list(parse_tptp(text, str(path)))
    for place, one in enumerate(parsed):
        line = one.line - 1 if index is None else index
        if isinstance(one, AnnotatedFormula):
            last = parsed[place + 1].line - 1 if place + 1 < len(parsed) else len(lines)
            given = "\n".join(lines[one.line - 1 : max(last, one.line)]).strip(_WHITE_SPACE)
            if "\n" in given or given.count(").") > 1 or not given.startswith(("fof", "cnf", "tff")):
                given = f"fof({one.name}, {one.role}, {one.formula})."
            found.append(Statement._of(one, given, line, f"line {one.line} of {path}"))
            continue
        target = _included(one, path)
        if target in above or len(above) > _MAX_INCLUDES:
            raise InvalidStatementError(f"{path}, line {one.line}: {target} includes itself")
        inner = _statements(_text(target), target, line, (*above, path.resolve()))
        if one.names is not None and (missing := one.names - {statement.name for statement in inner}):
            raise InvalidStatementError(
                f"{path}, line {one.line}: {target} has no statement {', '.join(sorted(missing))}"
            )
        found += [statement for statement in inner if one.names is None or statement.name in one.names]
    return found


def _included(include: Include, path: Path) -> Path:
    places = [path.parent, *([Path(os.environ["TPTP"])] if os.environ.get("TPTP") else [])]
    for place in places:
        if (target := place / include.file).is_file():
            return target.resolve()
    raise InvalidStatementError(
        f"{path}, line {include.line}: the included file {include.file!r} is not there; looked in "
        f"{' and '.join(map(str, places))}" + ("" if len(places) > 1 else ": set TPTP to the folder of the library")
    )


def read_proofs(path: Path) -> dict[str, list[str]]:
    """Known proofs, one a line: the name of a statement, then those of its premises, with blanks between them.

    Raises:
        InvalidInputError: the file cannot be read, is not UTF-8, or a line names no premise.
    """
    proofs: dict[str, list[str]] = {}
    for number, line in enumerate(_text(path).split("\n"), start=1):
        name, *premises = line.split() or [""]
        if not name or name.startswith(_COMMENT):
            continue
        if not premises:
            raise InvalidInputError(f"line {number} of {path}: expected `NAME PREMISE PREMISE …`, got {line[:60]!r}")
        proofs.setdefault(name, []).extend(premises)
    return proofs


def parse_lines(lines: Sequence[str], source: str) -> list[Statement]:
    """The statements of lines, one each; blank lines and ``%`` comments are passed over but counted.

    Raises:
        InvalidInputError: a line cannot be used, or none holds a statement; the text names ``source``.
    """
    found = [
        Statement.parse(line, index=index, where=f"line {index + 1} of {source}", is_line=True)
        for index, line in enumerate(lines)
        if line.strip(_WHITE_SPACE) and not line.lstrip().startswith(_COMMENT)
    ]
    if not found:
        raise InvalidInputError(f"no premises: {source} holds no statement (one a line is expected)")
    return found


def _text(path: Path) -> str:
    """The text of a file; its lines are those that an editor numbers (`str.splitlines` finds more)."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} in line {row}; convert it, "
            f"for example with `iconv -f LATIN1 -t UTF-8`"
        ) from error
    return text.replace("\r\n", "\n")
