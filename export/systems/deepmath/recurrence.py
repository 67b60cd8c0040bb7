"""Recurrent encoders as one node of the graph each."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from neurips16.training.ops import in_onnx_order, last_state
from neurips16.training.systems.deepmath.sequence_encoders import RecurrentEncoder


class RecurrentGraph(nn.Module):
    """What a `RecurrentEncoder` computes, by ONNX's own operators."""

    def __init__(self, encoder: RecurrentEncoder):
        super().__init__()
        self.stack = encoder.stack
        self.cell = "lstm" if isinstance(encoder.recurrent, nn.LSTM) else "gru"
        weights = [in_onnx_order(p.detach(), self.cell) for p in encoder.recurrent.parameters()]
        self.weight, self.recurrent = (nn.Parameter(w, requires_grad=False) for w in weights[:2])
        self.bias = nn.Parameter(torch.cat(weights[2:]), requires_grad=False)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """[N, C, T] and lengths [N] to [N, D]."""
        if self.stack is not None:
            features, lengths = self.stack(features, lengths)  # which has at least one step
        else:
            features = nn.functional.pad(features, (0, 1))  # always: a graph has no branch on the length
            lengths = lengths.clamp(min=1)  # of a statement without a word, one step over nothing
        return last_state(features.transpose(1, 2), lengths, self.weight, self.recurrent, self.bias, self.cell)


def with_recurrent_nodes(encoders: nn.ModuleDict) -> nn.ModuleDict:
    """A copy of encoders in which every recurrent one is a `RecurrentGraph`."""
    encoders = copy.deepcopy(encoders)
    for encoder in encoders.values():
        if isinstance(encoder.body, RecurrentEncoder):
            encoder.body = RecurrentGraph(encoder.body)
    return encoders
