"""SimHash as served models: `models` holds the graphs of codes and of counts."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.simhash.models import simhash_models

EXPORT = SystemExport("simhash", models=lambda _checkpoint, _data: simhash_models(), needs_data=False, trained=False)
