"""Gibbs sampling as a served model: `models` holds the graph."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.gibbs.models import gibbs_model

EXPORT = SystemExport("gibbs", models=lambda _checkpoint, _data: [gibbs_model()], needs_data=False, trained=False)
