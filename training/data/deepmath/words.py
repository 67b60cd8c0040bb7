"""The words of a statement and their hashes: what the models read in place of text.

The rule is one regular expression. Of the formula of a statement (its name, role and annotations are left out)

* a quoted atom, a name or number, and each of ``<=> <~> => <= != = ~`` is a word, in order;
* a word that begins with a capital letter or ``_``, a variable, becomes ``*``;
* single quotes around an atom are taken off;
* everything else (brackets, commas, quantifiers, ``&``, ``|``) is left out.

A word's hash is an INT64: FNV-1a with 32 bits of its UTF-8 bytes in the lower half and, in the upper half, that of its
ending, which is what follows its first ``_`` (for Mizar: the article that the symbol is from), or 0 where it has none.
The client follows the same rule in code of its own; `tests/word_cases.json` holds both to it.
"""

from __future__ import annotations

import re

import numpy as np

WORD = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[A-Za-z0-9_$]+|<=>|<~>|=>|<=|!=|[=~]")
VARIABLE = "*"
CONNECTIVES = ("<=>", "<~>", "=>", "<=", "!=", "=", "~")
_OFFSET, _PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")


def words(formula: str) -> list[str]:
    """The words of a formula, in order."""
    return [_plain(word) for word in WORD.findall(formula)]


def fnv1a(data: bytes) -> int:
    """FNV-1a with 32 bits."""
    value = _OFFSET
    for byte in data:
        value = (value ^ byte) * _PRIME & _MASK
    return value


def word_hash(word: str) -> int:
    """The hash of one word, as it goes into an INT64."""
    ending = word.partition("_")[2]
    value = (fnv1a(ending.encode()) << 32 if ending else 0) | fnv1a(word.encode())
    return value - (1 << 64) if value >> 63 else value


def word_hashes(formula: str) -> np.ndarray:
    """The hashes of a formula's words, INT64 [L]."""
    return np.array([_hashes[word] for word in WORD.findall(formula)], np.int64)


def _plain(word: str) -> str:
    if word[0] in _CAPITALS:
        return VARIABLE
    return word[1:-1] if word[0] == "'" else word


class _Hashes(dict[str, int]):
    """Hashes by word as the text has it, each computed once; forgotten when there are too many."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 1 << 20:
            self.clear()
        value = self[word] = word_hash(_plain(word))
        return value


_hashes = _Hashes()
