"""``neurips16::SignSplit``, an operator for tests with two outputs of two types."""

from __future__ import annotations

from typing import Any

from onnx.defs import OpSchema

SCHEMA = OpSchema(
    "SignSplit",
    "neurips16",
    1,
    doc="Magnitudes, and 1 where a value lies below minus the threshold.",
    inputs=[OpSchema.FormalParameter("x", "T")],
    outputs=[OpSchema.FormalParameter("magnitude", "T"), OpSchema.FormalParameter("negative", "I")],
    type_constraints=[("T", ["tensor(float)"], "FP32 only."), ("I", ["tensor(int32)"], "Flags.")],
    attributes=[OpSchema.Attribute("threshold", OpSchema.AttrType.FLOAT, required=True)],
)


def torch_op() -> Any:
    """The overload that the exporter finds in a traced graph."""
    import torch

    from sign_split.definition import sign_split  # noqa: F401  (defines it)

    return torch.ops.neurips16.sign_split.default


def translate(node: Any, x: Any, threshold: float) -> Any:
    """One opaque node for one call of the torch operator."""
    return node(x, threshold=threshold)
