"""How DeepMath's models read a statement: as characters, or as words.

`normalise` in `training/data/deepmath/reader.py` gives the text that is read. Token ids start at 1 in the order of the
vocabulary; 0 is every token that it does not hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from neurips16.training.data.deepmath.features import LOW, MAX_ROWS, WORDS
from neurips16.training.data.deepmath.words import word_hash, word_hashes, words
from neurips16.training.errors import DataError


def character_vocabulary(texts: Iterable[str]) -> list[str]:
    """All characters of the texts, sorted."""
    return sorted(set().union(*map(set, texts)))


def word_vocabulary(texts: Iterable[str], min_count: int) -> list[str]:
    """The words that occur at least ``min_count`` times, most frequent first."""
    counts = Counter(word for text in texts for word in words(text))
    return [word for word, count in counts.most_common() if count >= min_count]


def word_rows(vocabulary: Sequence[str]) -> np.ndarray:
    """The id, 1, 2, …, of each bucket of hashes that a word of the vocabulary has, int16 [buckets]; else 0.

    Raises:
        DataError: the vocabulary has more words than INT16 counts.
    """
    if len(vocabulary) > MAX_ROWS:
        raise DataError(f"{len(vocabulary)} words are more than {MAX_ROWS}: raise data.min_word_count")
    rows = np.zeros(WORDS.buckets, np.int16)
    for number, word in reversed(list(enumerate(vocabulary, start=1))):  # the first word keeps a bucket that two have
        rows[word_hash(word) % LOW % WORDS.buckets] = number
    return rows


class Tokenizer:
    """Normalised text to token ids, int32 [T].

    Words go by the bucket of their hash, as in the served graph, which knows no text.

    Args:
        vocabulary: the tokens, whose ids are 1, 2, …
        level: "character", or one of words.
    """

    def __init__(self, vocabulary: Sequence[str], level: str):
        self.ids = {token: i for i, token in enumerate(vocabulary, start=1)} if level == "character" else {}
        self.rows = word_rows(vocabulary) if level != "character" else None

    def __call__(self, text: str) -> np.ndarray:
        """The ids of a text's tokens."""
        if self.rows is None:
            return np.fromiter((self.ids.get(character, 0) for character in text), np.int32)
        return self.rows[word_hashes(text) % LOW % WORDS.buckets].astype(np.int32)
