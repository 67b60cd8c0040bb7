"""Scoring collections of images: the classes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from neurips16.clients.media.image_reading import read_image
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.scoring.task import CLASSES, Result, ScoreTask, Value
from neurips16.clients.tasks.classify_image.calls import classify_images, image_labels


@dataclass(frozen=True)
class ClassifyImageTask(ScoreTask):
    """Classes of whole images, by any model with an ``image`` and ``class_probabilities``."""

    name = "classify-image"
    wants = "file"
    rows_at_a_time = 8

    model: str = field(metadata={"help": "The classifier's name."})
    top: int | None = field(default=None, metadata={"help": "Keep the likeliest so many."})

    @property
    def models(self) -> tuple[str, ...]:
        """See `ScoreTask.models`."""
        return (self.model,)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `ScoreTask.fields`."""
        return [pa.field("classes", CLASSES)]

    def check(self) -> Operation[None]:
        """See `ScoreTask.check`."""
        (config,) = yield [messages.model_config(self.model)]
        image_labels(config)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        images = [read_image(value) for value in values]
        found = yield from classify_images(images, model=self.model, top_k=self.top)
        return [{"classes": [asdict(one) for one in classes]} for classes in found]
