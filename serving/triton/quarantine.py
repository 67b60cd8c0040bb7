"""Which models have crashed the server, and which of them are not to be served any more."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from neurips16.serving.triton.in_flight import Activity, suspects

LIMIT = 3.0  # crashes
EPSILON = 1e-9  # thirds do not add up


class Quarantine:
    """Counts crashes by model.

    A crash counts in full for the model in whose thread it was. Where that cannot be told, it counts in equal parts for
    all that ran, so that a busy model beside the culprit is not taken for it at once.
    """

    def __init__(self) -> None:
        self._blame: dict[str, float] = defaultdict(float)
        self._reasons: dict[str, str] = {}

    @property
    def models(self) -> dict[str, str]:
        """The models that are not to be served, and why."""
        return dict(self._reasons)

    def crashed(self, activities: Iterable[Activity]) -> list[str]:
        """Note a crash; the models that are in quarantine from now on."""
        listed = suspects(activities)
        fresh = []
        for model in {activity.model for activity in listed}:
            own = [activity for activity in listed if activity.model == model]
            self._blame[model] += len(own) / len(listed)
            if self._blame[model] >= LIMIT - EPSILON and model not in self._reasons:
                self._reasons[model] = f"it crashed the server {LIMIT:.0f} times, the last time with {own[0].detail}"
                fresh.append(model)
        return sorted(fresh)

    def release(self, model: str) -> None:
        """Forget what a model did: it has changed, or somebody asked for it by name."""
        self._blame.pop(model, None)
        self._reasons.pop(model, None)


def write_quarantined(models: Mapping[str, str], path: Path) -> None:
    """Write the models that the backend is to refuse, and why, into the file that it reads (``quarantine.h``)."""
    reasons = {model: f"in quarantine, {reason}; loading it by name brings it back" for model, reason in models.items()}
    path.write_text(json.dumps(reasons))
