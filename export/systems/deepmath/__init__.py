"""DeepMath: the encoder of statements and the ranker over their embeddings."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.deepmath.evaluation import OPTIONS, evaluate
from neurips16.export.systems.deepmath.models import models

EXPORT = SystemExport("deepmath", evaluate, models, OPTIONS, quick_options={"sample": "500"})

__all__ = ["EXPORT"]
