"""SoundNet (Aytar et al., NIPS 2016): sound representations from unlabelled video."""

from neurips16.training.systems.soundnet.network import SYSTEM

__all__ = ["SYSTEM"]
