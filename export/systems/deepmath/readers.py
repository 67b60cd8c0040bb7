"""Statements as a server is sent them, read into tokens inside the graph: bytes of text, or hashes of words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurips16.training.data.deepmath.features import LOW, WORDS
from neurips16.training.data.deepmath.tokens import word_rows

_WRAPPERS, _COMMA, _END = (b"fof(", b"cnf("), ord(","), b")."


class FormulaReader(nn.Module):
    """The bytes of statements to token ids: what `training.data.deepmath.normalise` does to text, as tensor operations.

    White space goes first; then, from ``fof(NAME,ROLE,FORMULA).``, all but FORMULA.
    """

    def __init__(self, vocabulary: Sequence[str], max_length: int):
        super().__init__()
        self.max_length = max_length
        ids = torch.zeros(256, dtype=torch.int64)
        for i, character in enumerate(vocabulary, start=1):
            ids[ord(character)] = i
        self.ids: Tensor
        self.kept: Tensor
        self.register_buffer("ids", ids)
        kept = torch.ones(256, dtype=torch.bool)
        kept[torch.tensor([0, *b" \t\n\v\f\r"])] = False
        self.register_buffer("kept", kept)

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Bytes uint8 [N, L] to ids int64 [N, T], -1 behind the end, and lengths int64 [N]."""
        codes = F.pad(text.to(torch.int64), (0, 8))  # so that the wrapper may be looked for in any text
        kept = self.kept[codes]
        size = kept.sum(dim=1, keepdim=True)  # [N, 1]
        codes = _packed(codes, kept)  # [N, L]
        columns = torch.arange(codes.shape[1], device=codes.device)
        opened = torch.zeros_like(size, dtype=torch.bool)
        for wrapper in _WRAPPERS:
            opened = opened | (codes[:, : len(wrapper)] == torch.tensor(list(wrapper))).all(dim=1, keepdim=True)
        closed = torch.ones_like(opened)
        for back, code in enumerate(reversed(_END), start=1):
            closed = closed & ((columns == size - back) & (codes == code)).any(dim=1, keepdim=True)
        commas = (codes == _COMMA).to(torch.int64).cumsum(dim=1)  # [N, L]
        wrapped = opened & closed & (commas[:, -1:] >= 2)
        # Of a wrapped statement: what stands behind the second comma and before the end.
        behind = (commas >= 2) & ((codes != _COMMA) | (commas > 2))
        formula = (columns < size - len(_END) * wrapped) & (behind | ~wrapped)
        lengths = formula.sum(dim=1).clamp(max=self.max_length)
        codes = _packed(codes, formula)[:, : self.max_length]
        inside = torch.arange(codes.shape[1], device=codes.device) < lengths[:, None]
        return torch.where(inside, self.ids[codes], -1), lengths


class WordReader(nn.Module):
    """Hashes of words to token ids."""

    def __init__(self, vocabulary: Sequence[str], max_length: int):
        super().__init__()
        self.max_length = max_length
        self.ids: Tensor
        self.register_buffer("ids", torch.from_numpy(word_rows(vocabulary)))

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Hashes int64 [N, L], 0 behind the end, to ids int64 [N, L'], -1 behind the end, and lengths int64 [N]."""
        words = words[:, : self.max_length]
        present = words != 0
        ids = self.ids[words % LOW % WORDS.buckets].to(torch.int64)
        return torch.where(present, ids, -1), present.to(torch.int64).sum(dim=1)


def _packed(codes: Tensor, kept: Tensor) -> Tensor:
    """Each row's kept codes moved to its front, zeros behind them, [N, L] to [N, L]."""
    # Everything that is not kept goes to one more column, which is cut off. `add` on zeros, since several codes may
    # land there and a plain scatter leaves open which of them wins.
    places = torch.where(kept, kept.to(torch.int64).cumsum(dim=1) - 1, codes.shape[1])
    return F.pad(torch.zeros_like(codes), (0, 1)).scatter_add(1, places, codes)[:, :-1]
