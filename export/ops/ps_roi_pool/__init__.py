"""``neurips16::PSRoIPool`` in ONNX: its schema, and what is put in the place of torch's operator.

``function.onnxtxt`` is its body in standard operators; ``cpu.cc`` and ``cuda.cu`` are its kernels.
"""

from __future__ import annotations

from typing import Any

from onnx.defs import OpSchema

SCHEMA = OpSchema(
    "PSRoIPool",
    "neurips16",
    1,
    doc="Position-sensitive RoI pooling of R-FCN.",
    inputs=[OpSchema.FormalParameter("scores", "T"), OpSchema.FormalParameter("rois", "T")],
    outputs=[OpSchema.FormalParameter("pooled", "T")],
    type_constraints=[("T", ["tensor(float)"], "FP32 only.")],
    attributes=[
        OpSchema.Attribute("spatial_scale", OpSchema.AttrType.FLOAT, required=True),
        OpSchema.Attribute("group_size", OpSchema.AttrType.INT, required=True),
    ],
)


def torch_op() -> Any:
    """The overload that the exporter finds in a traced graph."""
    import torch

    import neurips16.training.ops  # noqa: F401  (defines it)

    return torch.ops.neurips16.ps_roi_pool.default


def translate(node: Any, scores: Any, rois: Any, spatial_scale: float, group_size: int) -> Any:
    """One opaque node (``node`` makes it) for one call of the torch operator."""
    return node(scores, rois, spatial_scale=spatial_scale, group_size=group_size)
