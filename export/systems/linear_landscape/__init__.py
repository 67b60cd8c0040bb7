"""The loss surface of linear networks as a served model: `models` holds the graph."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.linear_landscape.models import landscape_model

EXPORT = SystemExport(
    "linear_landscape", models=lambda _checkpoint, _data: [landscape_model()], needs_data=False, trained=False
)
