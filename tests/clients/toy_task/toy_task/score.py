from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from neurips16.clients.scoring.task import ScoreTask
from toy_task.calls import spell


@dataclass(frozen=True)
class SpellTask(ScoreTask):
    """Texts, spelt."""

    name = "spell"
    wants = "text"
    models = ("tiny_classifier",)

    separator: str = field(default="-", metadata={"help": "Between the letters."})

    def fields(self, config: Any) -> list[pa.Field]:
        return [pa.field("spelt", pa.string())]

    def check(self) -> Any:
        yield from ()

    def score(self, values: Any) -> Any:
        results = []
        for value in values:
            results.append({"spelt": (yield from spell(value, separator=self.separator))})
        return results
