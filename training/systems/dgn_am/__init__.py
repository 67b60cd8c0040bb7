"""DGN-AM (Nguyen et al., NIPS 2016): preferred inputs of a classifier's units."""

from neurips16.training.systems.dgn_am.network import SYSTEM

__all__ = ["SYSTEM"]
