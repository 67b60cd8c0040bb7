"""A statement as the weighted sum of its features' embeddings; the same in training and in the served graph.

Training has the features of all statements as one sparse matrix (`training/data/deepmath/features.py`); the served
graph computes them of the words' hashes, with operators that every runtime knows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.deepmath.features import (
    BIGRAM_FACTOR,
    BIGRAMS,
    BLOCKS,
    ENDINGS,
    LOW,
    NO_SYMBOLS,
    WORDS,
    Bags,
    FeatureRows,
)

TABLE_SCALE = 0.09  # standard deviation of the embeddings at the start


class WordFeatures(nn.Module):
    """Words to [N, D]: a sum of table rows.

    Args:
        rows: F, the features that have a row.
        width: D.
        max_words: words of a statement that are read.
        dropout: share of a statement's features that training hides; the others weigh the more.
    """

    def __init__(self, rows: int, width: int, max_words: int, dropout: float = 0.0):
        super().__init__()
        self.out_features, self.max_words, self.dropout = width, max_words, dropout
        self.table = nn.Parameter(torch.randn(rows + 1, width) * TABLE_SCALE)
        self.idf: Tensor
        self.register_buffer("idf", torch.zeros(rows + 1))
        self.ignored: Tensor
        self.register_buffer("ignored", torch.tensor(NO_SYMBOLS), persistent=False)
        for block in BLOCKS:
            self.register_buffer(f"rows_of_{block.name}", torch.zeros(block.buckets, dtype=torch.int16))

    def fill(self, features: FeatureRows) -> None:
        """Take over which buckets have a row, and what the rows weigh."""
        self.idf.copy_(torch.from_numpy(features.idf))
        for block, rows in zip(BLOCKS, features.rows, strict=True):
            self.get_buffer(f"rows_of_{block.name}").copy_(torch.from_numpy(rows))

    def known(self) -> FeatureRows:
        """What `fill` took over."""
        rows = tuple(self.get_buffer(f"rows_of_{block.name}").numpy(force=True) for block in BLOCKS)
        return FeatureRows(rows, self.idf.numpy(force=True))

    def forward(self, bags: Bags) -> Tensor:
        """The features of S statements to [S, D]."""
        weights = F.dropout(bags.weights, self.dropout, self.training)
        # The rows first, each once: the gradient of the whole table is then sparse and small.
        rows = F.embedding(bags.rows, self.table, sparse=self.training)
        return F.embedding_bag(bags.places, rows, bags.starts, mode="sum", per_sample_weights=weights)

    def from_words(self, words: Tensor) -> Tensor:
        """Hashes of words int64 [N, L], 0 in the padding, to [N, D]."""
        rows = self.rows(words[:, : self.max_words]).sort(dim=2).values  # [N, B, L]: equal ones stand together
        run = (F.pad(rows, (1, 0), value=-1)[:, :, :-1] != rows).to(torch.int64).cumsum(dim=2) - 1
        counts = torch.zeros(rows.shape).scatter_add(2, run, torch.ones(rows.shape))
        lines = torch.arange(rows.shape[0] * len(BLOCKS)).reshape(-1, len(BLOCKS), 1) * rows.shape[2]
        tf = counts.flatten()[run + lines]
        # Each of the tf occurrences has its part of the feature's weight.
        weights = (1 + tf.log()) * self.idf[rows] / tf
        norms = (weights.square() * tf).sum(dim=2, keepdim=True).sqrt()
        weights = weights / norms.clamp(min=1e-6)
        return (weights.flatten(1)[:, None, :] @ self.table[rows.flatten(1)]).squeeze(1)

    def known_share(self, words: Tensor) -> Tensor:
        """Which share of a statement's symbols has a row: hashes int64 [N, L] to float32 [N, 1]."""
        words = words[:, : self.max_words]
        low = words % LOW
        symbols = (words != 0) & (low[:, :, None] != self.ignored).all(dim=2)
        known = symbols & (self.get_buffer("rows_of_words")[low % WORDS.buckets] > 0)
        return known.sum(dim=1, keepdim=True) / symbols.sum(dim=1, keepdim=True).clamp(min=1)

    def rows(self, words: Tensor) -> Tensor:
        """The table rows of hashes [N, L], int64 [N, B, L], for each block; 0 where there is none."""
        low = words % LOW
        high = (words - low) // LOW
        present = words != 0
        both = present & F.pad(present, (0, 1))[:, 1:]
        bigrams = torch.where(both, low * BIGRAM_FACTOR + F.pad(low, (0, 1))[:, 1:], 0)
        maps = [self.get_buffer(f"rows_of_{block.name}") for block in BLOCKS]
        buckets = (low % WORDS.buckets, high % ENDINGS.buckets, bigrams % BIGRAMS.buckets)
        return torch.stack([rows[bucket] for rows, bucket in zip(maps, buckets, strict=True)], dim=1).to(torch.int64)
