"""DeepMath: conjecture encoder, premise encoder, ranker."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.deepmath.evaluation import OPTIONS, evaluate
from neurips16.export.systems.deepmath.models import models

EXPORT = SystemExport("deepmath", evaluate, models, OPTIONS, quick_options={"ranking": "no", "sample": "500"})

__all__ = ["EXPORT"]
