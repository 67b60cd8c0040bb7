"""DeepMath (Irving et al., NIPS 2016): premise selection."""

from neurips16.training.systems.deepmath.network import SYSTEM

__all__ = ["SYSTEM"]
