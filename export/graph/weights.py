"""Weights that are stored as FP16 and computed with as FP32: files of half the size, arithmetic unchanged.

First the module's large weights are rounded (`round_weights`), then the module is exported, then every large weight of
the graph that FP16 holds exactly is stored so (`store_as_fp16`). So the file and the rounded module are the same
function, and parity is checked between those two; what the rounding costs shows in the task's metric.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import torch
from torch import nn

from neurips16.export.errors import ExportError

LARGE_WEIGHT = 1024  # elements: what is smaller is not worth rounding


def round_weights(module: nn.Module) -> nn.Module:
    """A copy of ``module`` whose large FP32 weights are rounded to the nearest FP16 value, and stay FP32.

    Raises:
        ExportError: a weight lies beyond FP16's range.
    """
    rounded = copy.deepcopy(module)
    for name, tensor in (*rounded.named_parameters(), *rounded.named_buffers()):
        if tensor.dtype == torch.float32 and tensor.numel() >= LARGE_WEIGHT:
            half = tensor.detach().half()
            if not torch.isfinite(half).all():
                peak = tensor.detach().abs().max().item()
                raise ExportError(f"weight {name!r} reaches {peak:.3g}, FP16 ends at 65504: store it as FP32")
            tensor.data.copy_(half)
    return rounded


def store_as_fp16(graph: onnx.GraphProto) -> None:
    """Store every large FP32 weight that FP16 holds exactly as FP16, with a Cast back to FP32 behind it.

    `round_weights` made the weights exact; one that the exporter has computed itself, from several, stays FP32.
    """
    casts = []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < LARGE_WEIGHT:
            continue
        value = onnx.numpy_helper.to_array(weight)
        half = value.astype(np.float16)
        if np.array_equal(half.astype(np.float32), value):
            name, stored = weight.name, f"{weight.name}_fp16"
            weight.CopyFrom(onnx.numpy_helper.from_array(half, stored))
            casts.append(
                onnx.helper.make_node("Cast", [stored], [name], name=f"{name}_cast", to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *(copy.deepcopy(node) for node in graph.node)]  # in topological order: the casts come first
    del graph.node[:]
    graph.node.extend(nodes)
