"""What stands on an encoding of a statement: the embedding whose products with others are the scores.

An embedding has two parts. Over the first ``rank_size`` numbers, conjecture · premise is the score by which a whole
library is ranked; over the rest it is the logit of a listed pair: is this premise, which looks alike, useful?
Biases and scales are numbers of the embedding, so that nothing but the product remains.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.systems.deepmath.usage_memory import FEATURES as USAGE_FEATURES


class Tower(nn.Module):
    """Encodings [N, E] of conjectures or of premises to embeddings [N, D].

    Args:
        in_features: E.
        hidden: units of the hidden layer.
        rank: length of the vector whose product ranks.
        pair: length of the vector whose product is the pair's logit.
        dropout: share of the hidden layer that training hides.
        usage: whether the usage of the statement is an input, too.
    """

    def __init__(self, in_features: int, hidden: int, rank: int, pair: int, dropout: float, *, usage: bool = False):
        super().__init__()
        self.norm = nn.LayerNorm(in_features)
        self.hidden = nn.Linear(in_features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.rank, self.pair = nn.Linear(hidden, rank), nn.Linear(hidden, pair)
        self.skip = nn.Linear(in_features, rank, bias=False)
        self.biases = nn.Linear(hidden, 2)
        # The product begins as the similarity of the encodings.
        nn.init.eye_(self.skip.weight)
        nn.init.zeros_(self.biases.weight)
        nn.init.zeros_(self.biases.bias)
        with torch.no_grad():
            self.rank.weight.mul_(0.3)
        self.usage = nn.Linear(USAGE_FEATURES, hidden + 2, bias=False) if usage else None
        if self.usage is not None:
            nn.init.zeros_(self.usage.weight)

    def forward(self, encodings: Tensor, usage: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """[N, E] and usage [N, 3] to the rank vector [N, rank], the pair vector [N, pair] and both biases [N, 2]."""
        encodings = self.norm(encodings)
        hidden = self.hidden(encodings)
        shift = torch.zeros_like(hidden[:, :2])
        if self.usage is not None:
            assert usage is not None  # who makes such a tower gives it
            more, shift = self.usage(usage).split([hidden.shape[1], 2], dim=1)
            hidden = hidden + more
        hidden = self.dropout(F.relu(hidden))
        return self.rank(hidden) + self.skip(encodings), self.pair(hidden), self.biases(hidden) + shift


class Towers(nn.Module):
    """The towers of both sides, which start equal, and the scales of their two products."""

    def __init__(self, in_features: int, hidden: int, rank: int, pair: int, dropout: float, *, usage: bool = False):
        super().__init__()
        self.conjecture = Tower(in_features, hidden, rank, pair, dropout)
        self.premise = Tower(in_features, hidden, rank, pair, dropout, usage=usage)
        self.premise.load_state_dict(self.conjecture.state_dict(), strict=False)  # all but the weights of usage
        self.scales = nn.Parameter(torch.tensor([rank**-0.5, pair**-0.5]))
        self.rank_size = rank + 1
        self.size = self.rank_size + pair + 2

    def conjectures(self, encodings: Tensor) -> Tensor:
        """Encodings of conjectures [N, E] to embeddings [N, D]."""
        rank, pair, biases = self.conjecture(encodings)
        one = torch.ones_like(biases[:, :1])
        return torch.cat([rank * self.scales[0], one, pair * self.scales[1], biases[:, 1:], one], dim=1)

    def premises(self, encodings: Tensor, usage: Tensor | None = None) -> Tensor:
        """Encodings of premises [N, E] and, where it counts, their usage [N, 3] to embeddings [N, D]."""
        rank, pair, biases = self.premise(encodings, usage)
        return torch.cat([rank, biases[:, :1], pair, torch.ones_like(biases[:, :1]), biases[:, 1:]], dim=1)
