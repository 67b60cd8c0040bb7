"""R-FCN: the detector."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.rfcn.evaluation import OPTIONS, evaluate
from neurips16.export.systems.rfcn.models import models

EXPORT = SystemExport("rfcn", evaluate, models, OPTIONS)

__all__ = ["EXPORT"]
