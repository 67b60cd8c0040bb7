"""Scoring collections of sounds: what can be heard in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.scoring.task import CLASSES, Result, ScoreTask, Value
from neurips16.clients.tasks.classify_sound.calls import MODEL as SOUND_CLASSIFIER
from neurips16.clients.tasks.classify_sound.calls import SoundModel, classify_sound


@dataclass(frozen=True)
class ClassifySoundTask(ScoreTask):
    """What can be heard in sounds."""

    name = "classify-sound"
    wants = "file"

    top: int | None = field(default=None, metadata={"help": "Keep the likeliest so many."})

    @property
    def models(self) -> tuple[str, ...]:
        """See `ScoreTask.models`."""
        return (SOUND_CLASSIFIER,)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `ScoreTask.fields`."""
        return [pa.field("classes", CLASSES), pa.field("duration_s", pa.float64())]

    def check(self) -> Operation[None]:
        """See `ScoreTask.check`."""
        (config,) = yield [messages.model_config(SOUND_CLASSIFIER)]
        SoundModel.of(config)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        results = []
        for value in values:
            heard = yield from classify_sound(value, top_k=self.top)
            results.append({"classes": [asdict(found) for found in heard], "duration_s": heard.duration_s})
        return results
