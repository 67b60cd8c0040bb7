"""Operators of our own, defined in torch.

Each module holds one operator ``neurips16::<name>`` with its shape function and, where it has one, its gradient. Its
other definitions, the ONNX function body and the native kernels, are in ``export/ops/<name>/``; an operator that ONNX
has itself is translated in ``export/ops/standard.py``.
"""

from .last_state import in_onnx_order, last_state
from .non_max_suppression import non_max_suppression
from .ps_roi_pool import ps_roi_pool

__all__ = ["in_onnx_order", "last_state", "non_max_suppression", "ps_roi_pool"]
