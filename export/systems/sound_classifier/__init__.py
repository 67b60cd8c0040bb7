"""The classifier of sounds."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.sound_classifier.evaluation import OPTIONS, evaluate
from neurips16.export.systems.sound_classifier.models import models

EXPORT = SystemExport("sound_classifier", evaluate, models, OPTIONS)

__all__ = ["EXPORT"]
