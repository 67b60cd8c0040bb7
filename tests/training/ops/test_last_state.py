from __future__ import annotations

import pytest
import torch

from neurips16.training.ops import in_onnx_order, last_state


@pytest.mark.parametrize(("cell", "layer"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
def test_the_state_after_the_last_step_that_counts(cell, layer):
    torch.manual_seed(0)
    module = layer(3, 4, batch_first=True)
    weight, recurrent, *biases = (in_onnx_order(p.detach(), cell) for p in module.parameters())
    inputs, lengths = torch.randn(5, 7, 3), torch.tensor([7, 1, 3, 6, 2])
    got = last_state(inputs, lengths, weight, recurrent, torch.cat(biases), cell)
    for row, length, state in zip(inputs, lengths, got, strict=True):
        want = module(row[None, :length])[0][0, -1]
        torch.testing.assert_close(state, want)
