"""The words of a formula and their hashes: what is sent to the models in place of text.

The rule, for clients in any language, stands with worked examples in ``docs/words.md``; `tests/word_cases.json`
holds this module and training's own to it.
"""

from __future__ import annotations

import re

import numpy as np

_WORD = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[A-Za-z0-9_$]+|<=>|<~>|=>|<=|!=|[=~]")
_VARIABLE = "*"
_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_OFFSET, _PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
_CONNECTIVES = ("<=>", "<~>", "=>", "<=", "!=", "=", "~", _VARIABLE)
_REMEMBERED = 1 << 20  # words


def words(formula: str) -> list[str]:
    """The words of a formula, in order."""
    return [_plain(word) for word in _WORD.findall(formula)]


def word_hashes(formula: str) -> np.ndarray:
    """The hashes of a formula's words, INT64 [L]."""
    return np.array([_hashes[word] for word in _WORD.findall(formula)], np.int64)


def word_hash(word: str) -> int:
    """The hash of one word, as it goes into an INT64: FNV-1a of its ending in the upper half, its own in the lower."""
    ending = word.partition("_")[2]
    value = (_fnv1a(ending.encode()) << 32 if ending else 0) | _fnv1a(word.encode())
    return value - (1 << 64) if value >> 63 else value


def _plain(word: str) -> str:
    if word[0] in _CAPITALS:
        return _VARIABLE
    return word[1:-1] if word[0] == "'" else word


def _fnv1a(data: bytes) -> int:
    value = _OFFSET
    for byte in data:
        value = (value ^ byte) * _PRIME & _MASK
    return value


class _Hashes(dict[str, int]):
    """Hashes by word as the text has it, each computed once; forgotten when there are too many."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        value = self[word] = word_hash(_plain(word))
        return value


_hashes = _Hashes()
CONNECTIVE_HASHES = np.array([word_hash(word) for word in _CONNECTIVES])  # and the variable's: words, but no symbols
