"""InfoGAN (Chen et al., NIPS 2016): interpretable latent codes."""

from neurips16.training.systems.infogan.network import SYSTEM

__all__ = ["SYSTEM"]
