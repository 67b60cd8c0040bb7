"""Operators of our own, defined in torch.

Each module holds one operator ``neurips16::<name>`` with its shape function and, where it has one, its gradient. Its
other definitions, the ONNX function body and the native kernels, are in ``export/ops/<name>/``; an operator that ONNX
has itself is translated in ``export/ops/standard.py``.
"""

from .non_max_suppression import non_max_suppression
from .ps_roi_pool import ps_roi_pool

__all__ = ["non_max_suppression", "ps_roi_pool"]
