"""Operators that ONNX has itself and torch's exporter cannot translate well: ours in torch, and a stable sort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def standard_translations() -> dict[Any, Callable[..., Any]]:
    """For ``torch.onnx.export(custom_translation_table=...)``: torch's overload to the function that translates it."""
    import torch

    import neurips16.training.ops  # noqa: F401  (defines them)

    return {
        torch.ops.neurips16.non_max_suppression.default: non_max_suppression,
        torch.ops.neurips16.last_state.default: last_state,
        torch.ops.aten.sort.stable: stable_sort,
    }


def _operators() -> Any:
    from onnxscript import opset20

    return opset20  # as Any: its types want tensors of one kind, where a constant's kind is not known


def non_max_suppression(boxes: Any, scores: Any, iou_threshold: float, score_threshold: float) -> Any:
    """Boxes [N, B, 4] and scores [N, C, B] to the mask bool [N, C, B] of those that are kept."""
    op = _operators()

    boxes_of_a_class = op.Shape(boxes, start=1, end=2)  # no limit but their number
    selected = op.NonMaxSuppression(
        boxes,
        scores,
        boxes_of_a_class,
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[score_threshold]),
    )  # [M, 3] as image, class, box
    count = op.Shape(selected, start=0, end=1)
    ones = op.Expand(op.Constant(value_float=1.0), count)
    nothing = op.ConstantOfShape(op.Shape(scores))
    return op.Greater(op.ScatterND(nothing, selected, ones), op.Constant(value_float=0.5))


def last_state(inputs: Any, lengths: Any, weight: Any, recurrent: Any, bias: Any, cell: str) -> Any:
    """Inputs [N, T, C] and lengths [N] to the last states [N, H] of an LSTM or a GRU."""
    op = _operators()

    hidden = recurrent.shape[1]
    first, steps = op.Constant(value_ints=[0]), op.Cast(lengths, to=6)  # INT32
    by_time = op.Transpose(inputs, perm=[1, 0, 2])
    one_way = (op.Unsqueeze(tensor, first) for tensor in (weight, recurrent, bias))
    if cell == "lstm":
        _, state, _ = op.LSTM(by_time, *one_way, steps, hidden_size=hidden)
    else:
        _, state = op.GRU(by_time, *one_way, steps, hidden_size=hidden, linear_before_reset=1)
    return op.Squeeze(state, first)


def stable_sort(values: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """The sorted values and where each stood: ONNX's TopK takes the first of two equal values first."""
    op = _operators()

    length = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
    return op.TopK(values, length, axis=dim, largest=int(descending), sorted=1)
