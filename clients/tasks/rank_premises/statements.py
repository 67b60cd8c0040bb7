"""Statements of first-order logic as people give them: ``fof(name, role, formula).`` or a bare formula.

To the models a statement is its formula without white space; what its line looked like is kept for answers and errors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from neurips16.clients.protocol.errors import InvalidInputError, InvalidStatementError

_WRAPPER = re.compile(
    r"\s*fof\s*\(\s*(?P<name>'(?:[^'\\]|\\.)*'|[^\s,()']+)\s*,\s*(?P<role>\w+)\s*,(?P<formula>.*)\)\s*\.\s*",
    re.DOTALL | re.ASCII,
)
_NEXT = re.compile(r"\)\s*\.\s*fof\s*\(", re.ASCII)
_COMMENT = "%"  # as TPTP has it
_WHITE_SPACE = " \t\r\n\v\f"  # of ASCII only: any other is a character that no model knows
_NO_WHITE_SPACE = str.maketrans("", "", _WHITE_SPACE)


@dataclass(frozen=True)
class Statement:
    """One statement, parsed."""

    text: str  # as given
    index: int  # zero-based line of its file, or position in its list
    where: str  # for errors: "line 3 of premises.p"
    name: str  # "" for a bare formula
    formula: str  # as written, without the wrapper

    @cached_property
    def code(self) -> str:
        """The formula without white space: what a model reads, and what makes two statements the same."""
        return self.formula.translate(_NO_WHITE_SPACE)

    def is_same_as(self, other: Statement) -> bool:
        """Whether both state the same, or go by the same name."""
        return self.code == other.code or (bool(self.name) and self.name == other.name)

    @classmethod
    def parse(cls, text: str, *, index: int = 0, where: str = "the statement") -> Statement:
        """Take the wrapper off.

        Raises:
            InvalidStatementError: nothing is left, or several statements.
        """
        match = _WRAPPER.fullmatch(text)
        name, formula = (match["name"], match["formula"]) if match else ("", text)
        formula = formula.strip(_WHITE_SPACE)
        if not formula:
            raise InvalidStatementError(f"{where} is empty: give `fof(name, axiom, formula).` or a formula")
        if _NEXT.search(formula):
            raise InvalidStatementError(f"{where} holds several statements: give one")
        return cls(text, index, where, name, formula)


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
    at = first.text.index(character, first.text.index(first.formula))
    column = at - first.text.rfind("\n", 0, at)
    row = f"line {first.text.count(chr(10), 0, at) + 1}, " if "\n" in first.text.strip(_WHITE_SPACE) else ""
    others = f"; {len(wrong) - 1} more statements have such characters" if len(wrong) > 1 else ""
    raise InvalidStatementError(
        f"{first.where}, {row}column {column}: the model does not know the character {character!r} "
        f"(U+{ord(character):04X}); its alphabet is {''.join(sorted(alphabet))}{others}"
    )


def read_conjecture(path: Path) -> Statement:
    """The one statement of a file, which may take several lines.

    Raises:
        InvalidInputError: the file cannot be read, is not UTF-8, or holds no or several statements.
    """
    lines = [line for line in _lines(path) if not line.lstrip().startswith(_COMMENT)]
    text = "\n".join(lines).strip(_WHITE_SPACE)
    if not text:
        raise InvalidStatementError(f"the conjecture is empty: {path} holds no statement")
    return Statement.parse(text, where=f"the conjecture in {path}")


def read_premises(path: Path) -> list[Statement]:
    """The statements of a file, one a line; blank lines and ``%`` comments are passed over but counted.

    Raises:
        InvalidInputError: the file cannot be read, is not UTF-8, or holds no statement.
    """
    return parse_lines(_lines(path), str(path))


def parse_lines(lines: Sequence[str], source: str) -> list[Statement]:
    """The statements of lines, one each; blank lines and ``%`` comments are passed over but counted.

    Raises:
        InvalidInputError: a line cannot be used, or none holds a statement; the text names ``source``.
    """
    found = [
        Statement.parse(line, index=index, where=f"line {index + 1} of {source}")
        for index, line in enumerate(lines)
        if line.strip(_WHITE_SPACE) and not line.lstrip().startswith(_COMMENT)
    ]
    if not found:
        raise InvalidInputError(f"no premises: {source} holds no statement (one a line is expected)")
    return found


def _lines(path: Path) -> list[str]:
    """The lines as an editor numbers them (`str.splitlines` would also split at other characters)."""
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
    return text.replace("\r\n", "\n").split("\n")
