"""The classifier of sounds."""

from neurips16.export.systems.sound_classifier import models as models  # it registers the system
