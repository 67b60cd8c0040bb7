"""A classifier of sounds on SoundNet's features (Aytar et al., NIPS 2016)."""

from neurips16.training.systems.sound_classifier.network import SYSTEM

__all__ = ["SYSTEM"]
