"""The syntax of TPTP: tokens, annotated formulas and includes, in the names of its grammar (tptp.org, SyntaxBNF).

What is read is ``fof``, ``cnf``, and of ``tff`` the plain first-order part, whose types say nothing but "individual":
declarations are passed over, and ``X: $i`` is ``X``. Of a formula its own text is kept; comments, annotations and line
ends are no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from neurips16.clients.protocol.errors import InvalidStatementError

_TOKEN = re.compile(
    r"(?P<space>\s+|%[^\n]*|/\*.*?\*/)"
    r"|(?P<single_quoted>'(?:[^'\\\n]|\\['\\])+')"
    r"|(?P<distinct_object>\"(?:[^\"\\\n]|\\[\"\\])*\")"
    r"|(?P<number>[+-]?[0-9]+(?:/[0-9]+|(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))"
    r"|(?P<word>\$\$?[a-z]\w*|[A-Za-z]\w*|[0-9_]\w*)"
    r"|(?P<punctuation><=>|<~>|=>|<=|~\||~&|!=|:=|[()\[\],.:!?~|&=*>+-])",
    re.DOTALL | re.ASCII,
)
_ANNOTATED = re.compile(
    r"(?:\s+|%[^\n]*(?:\n|$)|/\*.*?\*/)*(?:(?:fof|cnf|tff|thf|tcf|tpi)\s*\(\s*(?:'|\w+\s*,)|include\s*\(\s*')",
    re.DOTALL | re.ASCII,
)
_BINARY = frozenset(["<=>", "<~>", "=>", "<=", "~|", "~&", "|", "&"])
_ASSOCIATIVE = frozenset("|&")
_LANGUAGES = frozenset(["fof", "cnf", "tff"])
_ROLES = frozenset(
    """axiom hypothesis definition assumption lemma theorem corollary conjecture negated_conjecture plain type
    interpretation logic unknown fi_domain fi_functors fi_predicates""".split()  # noqa: SIM905  # a list of words
)
_MAX_DEPTH = 200  # of brackets, terms and negations within one another


@dataclass(frozen=True)
class AnnotatedFormula:
    """One statement of a problem file."""

    name: str
    role: str
    formula: str  # one line, without comments; a clause's variables are bound by an ! before it
    line: int  # of its first token, from 1


@dataclass(frozen=True)
class Include:
    """``include('FILE', [NAMES])``."""

    file: str
    names: frozenset[str] | None  # None: all
    line: int


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int
    end: int


def parse_tptp(text: str, where: str, *, is_line: bool = False) -> Iterator[AnnotatedFormula | Include]:
    """The statements of a problem file, in order; declarations of types are passed over.

    Raises:
        InvalidStatementError: it is no TPTP, or of a part that is not read; the text names the line and column.
    """
    return _Parser(text, where, is_line).file()


def parse_formula(text: str, where: str, *, is_line: bool = False) -> str:
    """A bare formula, checked and on one line.

    Raises:
        InvalidStatementError: it is none; the text names the line and column.
    """
    parser = _Parser(text, where, is_line)
    formula = parser.formula("fof")
    parser.end()
    return formula


def is_annotated(text: str) -> bool:
    """Whether a text begins as a statement of TPTP does, past comments, and not as a bare formula."""
    return _ANNOTATED.match(text) is not None


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, where: str, is_line: bool) -> None:
        self.text, self.where, self.is_line = text, where, is_line  # of a line, ``where`` tells which it is
        self.tokens = list(self._tokens())
        self.at = 0
        self.depth = 0
        self.dropped: list[tuple[int, int]] = []  # tokens of types, which are no part of the formula
        self.free: dict[str, None] = {}  # variables of a clause, in order

    def _tokens(self) -> Iterator[_Token]:
        place = 0
        while place < len(self.text):
            match = _TOKEN.match(self.text, place)
            if match is None:
                shown = self.text[place]
                what = {"'": "a quote that does not end", '"': "a quote that does not end"}.get(shown)
                if self.text.startswith("/*", place):
                    what = "a comment that does not end"
                raise self._error(place, what or f"the character {shown!r} (U+{ord(shown):04X}) is none of TPTP's")
            if match.lastgroup != "space":
                yield _Token(str(match.lastgroup), match[0], place, match.end())
            place = match.end()
        yield _Token("end", "", place, place)

    def _error(self, place: int, said: str) -> InvalidStatementError:
        line, column = self.text.count("\n", 0, place) + 1, place - self.text.rfind("\n", 0, place)
        row = "" if self.is_line else f"line {line}, "
        return InvalidStatementError(f"{self.where}, {row}column {column}: {said}")

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, expected: str) -> InvalidStatementError:
        got = "the end" if self.token.kind == "end" else repr(self.token.text)
        return self._error(self.token.place, f"expected {expected}, got {got}")

    def take(self, text: str) -> None:
        if self.token.text != text or self.token.kind == "single_quoted":
            raise self.fail(repr(text))
        self.at += 1

    def is_next(self, *texts: str) -> bool:
        return self.token.text in texts and self.token.kind in ("punctuation", "word")

    def end(self) -> None:
        if self.token.kind != "end":
            raise self.fail("the end of the formula")

    def file(self) -> Iterator[AnnotatedFormula | Include]:
        while self.token.kind != "end":
            line = self.text.count("\n", 0, self.token.place) + 1
            if self.is_next("include"):
                yield self._include(line)
            elif self.token.text in _LANGUAGES:
                statement = self._annotated(self.token.text, line)
                if statement is not None:
                    yield statement
            else:
                raise self.fail("fof, cnf, tff or include")

    def _include(self, line: int) -> Include:
        self.at += 1
        self.take("(")
        if self.token.kind != "single_quoted":
            raise self.fail("a file in single quotes")
        file, names = _unquoted(self.token.text), None
        self.at += 1
        if self.is_next(","):
            self.at += 1
            if self.is_next("*"):
                self.at += 1
            else:
                self.take("[")
                found = [self._name()]
                while self.is_next(","):
                    self.at += 1
                    found.append(self._name())
                self.take("]")
                names = frozenset(found)
        self.take(")")
        self.take(".")
        return Include(file, names, line)

    def _name(self) -> str:
        token = self.token
        is_word = token.kind == "word" and (token.text[0].islower() or token.text.isdecimal())
        if not (is_word or token.kind == "single_quoted" or (token.kind == "number" and token.text.isdecimal())):
            raise self.fail("a name")
        self.at += 1
        return token.text

    def _annotated(self, language: str, line: int) -> AnnotatedFormula | None:
        self.at += 1
        self.take("(")
        name = self._name()
        self.take(",")
        role = self.token.text
        if role not in _ROLES:
            raise self.fail("a role such as axiom or conjecture")
        self.at += 1
        self._role_parts()
        self.take(",")
        if role == "type":
            if language != "tff":
                raise self._error(self.token.place, f"a declaration of types in {language}")
            self._skip()
            formula = None
        else:
            formula = self.formula(language)
        if self.is_next(","):  # the source, and useful information: no part of the formula
            self.at += 1
            self._skip()
        self.take(")")
        self.take(".")
        return None if formula is None else AnnotatedFormula(name, role, formula, line)

    def _role_parts(self) -> None:
        """``-`` and a part of the language, as ``axiom-local`` has it."""
        if self.is_next("-"):
            self.at += 1
            self._name()

    def _skip(self) -> None:
        """General terms, up to the bracket that ends the statement."""
        open_brackets: list[str] = []
        while self.token.kind != "end":
            if self.is_next("(", "["):
                open_brackets.append(")" if self.token.text == "(" else "]")
            elif self.is_next(")", "]"):
                if not open_brackets:
                    return
                if open_brackets.pop() != self.token.text:
                    raise self.fail("the bracket that was opened")
            elif not open_brackets and self.is_next("."):
                raise self.fail("')'")
            self.at += 1
        raise self.fail("')'")

    def formula(self, language: str) -> str:
        """A formula's text; the free variables of a clause are bound in it."""
        first = self.at
        self.dropped, self.free, self.depth = [], {}, 0
        if language == "cnf":
            self._clause()
        else:
            self._binary(language)
        text = self._text(first, self.at)
        if language == "cnf" and self.free:
            text = f"! [{','.join(self.free)}] : ({text})"
        return text

    def _text(self, first: int, last: int) -> str:
        """Tokens as they were written, a space for whatever stood between them."""
        skipped = {place for start, end in self.dropped for place in range(start, end)}
        parts: list[str] = []
        end = None
        for place in range(first, last):
            token = self.tokens[place]
            if place in skipped:
                continue
            if end is not None and token.place > end and not (parts and place - 1 in skipped):
                parts.append(" ")
            parts.append(token.text)
            end = token.end
        return "".join(parts)

    def _clause(self) -> None:
        bracketed = self.is_next("(")
        self.at += bracketed
        self._literal()
        while self.is_next("|"):
            self.at += 1
            self._literal()
        if bracketed:
            self.take(")")

    def _literal(self) -> None:
        while self.is_next("~"):
            self.at += 1
        self._term_or_equation(is_clause=True)

    def _binary(self, language: str) -> None:
        self._unitary(language)
        if self.is_next(*_BINARY):
            connective = self.token.text
            self.at += 1
            self._unitary(language)
            while connective in _ASSOCIATIVE and self.is_next(connective):
                self.at += 1
                self._unitary(language)
            if self.is_next(*_BINARY):
                raise self.fail("brackets that say what goes first")

    def _unitary(self, language: str) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error(self.token.place, f"more than {_MAX_DEPTH} formulas and terms within one another")
        if self.is_next("!", "?"):
            self.at += 1
            self._variables(language)
            self.take(":")
            self._unitary(language)
        elif self.is_next("~"):
            self.at += 1
            self._unitary(language)
        elif self.is_next("("):
            self.at += 1
            self._binary(language)
            self.take(")")
        else:
            self._term_or_equation(is_clause=False)
        self.depth -= 1

    def _variables(self, language: str) -> None:
        self.take("[")
        while True:
            if not _is_variable(self.token):
                raise self.fail("a variable")
            self.at += 1
            if self.is_next(":"):
                if language != "tff":
                    raise self.fail("',' or ']', since only tff has types,")
                start = self.at
                self.at += 1
                if self.token.kind != "word" or _is_variable(self.token):
                    raise self.fail("a type of plain first-order logic")
                self.at += 1
                self.dropped.append((start, self.at))
            if not self.is_next(","):
                break
            self.at += 1
        self.take("]")

    def _term_or_equation(self, *, is_clause: bool) -> None:
        can_stand_alone = not (_is_variable(self.token) or self.token.kind in ("number", "distinct_object"))
        self._term(is_clause)
        if self.is_next("=", "!="):
            self.at += 1
            self._term(is_clause)
        elif not can_stand_alone:
            raise self.fail("= or !=, since this is a term and no formula,")

    def _term(self, is_clause: bool) -> None:
        token = self.token
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error(token.place, f"more than {_MAX_DEPTH} formulas and terms within one another")
        if token.kind not in ("word", "single_quoted", "number", "distinct_object"):
            raise self.fail("a formula or a term")
        self.at += 1
        if _is_variable(token):
            if is_clause:
                self.free.setdefault(token.text)
        elif token.kind in ("word", "single_quoted", "number") and self.is_next("("):
            self.at += 1
            self._term(is_clause)
            while self.is_next(","):
                self.at += 1
                self._term(is_clause)
            self.take(")")
        self.depth -= 1


def _is_variable(token: _Token) -> bool:
    return token.kind == "word" and token.text[0].isupper()


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])
