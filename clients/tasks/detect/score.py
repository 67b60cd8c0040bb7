"""Scoring collections of images: the objects on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.scoring.task import Result, ScoreTask, Value
from neurips16.clients.tasks.detect import MIN_SCORE
from neurips16.clients.tasks.detect.calls import DETECTOR, Box, detect, detection_labels

_BOX = pa.struct([(edge, pa.float32()) for edge in Box._fields])


@dataclass(frozen=True)
class DetectTask(ScoreTask):
    """Objects on images."""

    name = "detect"
    wants = "file"

    model: str = field(default=DETECTOR, metadata={"help": "The detector's name."})
    min_score: float = field(default=MIN_SCORE, metadata={"help": "The threshold of the scores."})

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise InvalidInputError(f"min_score is a probability, 0 to 1, got {self.min_score}")

    @property
    def models(self) -> tuple[str, ...]:
        """See `ScoreTask.models`."""
        return (self.model,)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `ScoreTask.fields`."""
        found = pa.struct([("label", pa.string()), ("score", pa.float32()), ("box", _BOX)])
        return [pa.field("detections", pa.list_(found))]

    def check(self) -> Operation[None]:
        """See `ScoreTask.check`."""
        yield from detection_labels(self.model)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        results = []
        for value in values:
            found = yield from detect(value, min_score=self.min_score, model=self.model)
            results.append(
                {"detections": [{"label": d.label, "score": d.score, "box": d.box._asdict()} for d in found]}
            )
        return results
