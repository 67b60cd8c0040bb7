"""The hierarchy of h-DQN as two served models: `models` holds the graphs."""

from neurips16.export.registry import SystemExport
from neurips16.export.systems.hdqn.models import hdqn_models

EXPORT = SystemExport("hdqn", models=lambda _checkpoint, _data: hdqn_models(), needs_data=False, trained=False)
