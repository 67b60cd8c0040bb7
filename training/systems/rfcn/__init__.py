"""R-FCN (Dai et al., NIPS 2016): object detection."""

from neurips16.training.systems.rfcn.network import SYSTEM

__all__ = ["SYSTEM"]
