"""The task for whole collections: the column that it adds, and what fills it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from neurips16.clients.media.image_reading import read_image
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.scoring.task import Result, ScoreTask, Value
from stripes.calls import name_stripes


@dataclass(frozen=True)
class NameStripesTask(ScoreTask):
    """Which way stripes run."""

    name = "name-stripes"
    wants = "file"
    models = ("stripes",)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `ScoreTask.fields`."""
        return [pa.field("direction", pa.string())]

    def check(self) -> Operation[None]:
        """See `ScoreTask.check`: nothing to see, any classifier will do."""
        yield from ()

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        results = []
        for value in values:
            results.append({"direction": (yield from name_stripes(read_image(value)))})
        return results
