"""Operators of our own, defined in torch.

Each module holds one operator ``neurips16::<name>`` with its shape function and gradient. Its other definitions, the
ONNX function body and the native kernels, are in ``export/ops/<name>/``.
"""

from .ps_roi_pool import ps_roi_pool

__all__ = ["ps_roi_pool"]
