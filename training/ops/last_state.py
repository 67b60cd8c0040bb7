"""The last state of a recurrent layer, as ``neurips16::last_state``: ONNX's operators LSTM and GRU.

Training has torch's own layers, which learn. Those leave torch's exporter as a traced loop, after minutes and with
warnings; this operator leaves it as one node, and weights are in ONNX's order of gates.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Where torch's gates are in ONNX's order: (input, forget, cell, output) there is (input, output, forget, cell) here,
# and (reset, update, new) is (update, reset, new).
GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


def in_onnx_order(weight: Tensor, cell: str) -> Tensor:
    """A weight or bias of torch's layer, [G * H, ...], with its gates in ONNX's order."""
    gates = weight.chunk(len(GATES[cell]))
    return torch.cat([gates[i] for i in GATES[cell]])


def last_state(inputs: Tensor, lengths: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor, cell: str) -> Tensor:
    """The state after each sequence's last step, float32 [N, H].

    Args:
        inputs: [N, T, C].
        lengths: steps of each sequence that count, int64 [N], from 1 to T.
        weight: of the inputs, [G * H, C], gates in ONNX's order.
        recurrent: of the state before, [G * H, H].
        bias: [2 * G * H], of the inputs and then of the state.
        cell: "lstm" or "gru".
    """
    return _last_state(inputs, lengths, weight, recurrent, bias, cell)


@torch.library.custom_op("neurips16::last_state", mutates_args=())
def _last_state(inputs: Tensor, lengths: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor, cell: str) -> Tensor:
    layer = (torch.nn.LSTM if cell == "lstm" else torch.nn.GRU)(inputs.shape[2], recurrent.shape[1], batch_first=True)
    order = torch.tensor(GATES[cell]).argsort()
    given = (weight, recurrent, *bias.chunk(2))
    with torch.no_grad():
        for parameter, values in zip(layer.parameters(), given, strict=True):
            gates = values.chunk(len(order))
            parameter.copy_(torch.cat([gates[i] for i in order]))
        states, _ = layer(inputs)
    return states[torch.arange(len(lengths)), lengths - 1].contiguous()


@_last_state.register_fake
def _(inputs: Tensor, lengths: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor, cell: str) -> Tensor:
    return inputs.new_empty(inputs.shape[0], recurrent.shape[1])
