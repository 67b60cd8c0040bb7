"""How DeepMath's models read a statement: as characters, or as words.

`normalise` in `training/data/deepmath/reader.py` gives the text that is read. Token ids start at 1 in the order of the
vocabulary; 0 is every token that it does not hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

# A TPTP word (functor, variable or numeral), an arrow, or any other single character.
_WORD = re.compile(r"[A-Za-z0-9_$]+|<=>|<~>|=>|<=|!=|~&|~\||.")


def words(text: str) -> list[str]:
    """The words of a normalised statement; brackets, quantifiers and connectives count as words."""
    return _WORD.findall(text)


def character_vocabulary(texts: Iterable[str]) -> list[str]:
    """All characters of the texts, sorted."""
    return sorted(set().union(*map(set, texts)))


def word_vocabulary(texts: Iterable[str], min_count: int) -> list[str]:
    """The words that occur at least ``min_count`` times, most frequent first."""
    counts = Counter(word for text in texts for word in words(text))
    return [word for word, count in counts.most_common() if count >= min_count]


class Tokenizer:
    """Normalised text to token ids, int32 [T].

    Args:
        vocabulary: the tokens, whose ids are 1, 2, …
        level: "character" or "word".
    """

    def __init__(self, vocabulary: Sequence[str], level: str):
        self.ids = {token: i for i, token in enumerate(vocabulary, start=1)}
        self.level = level

    def __call__(self, text: str) -> np.ndarray:
        """The ids of a text's tokens."""
        tokens: Iterable[str] = text if self.level == "character" else words(text)
        return np.fromiter((self.ids.get(token, 0) for token in tokens), np.int32)
