"""Scoring collections of statements: a vector for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.scoring.task import Result, ScoreTask, Value
from neurips16.clients.tasks.rank_premises import calls
from neurips16.clients.tasks.rank_premises.score import STATEMENTS_AT_A_TIME, encode_values


@dataclass(frozen=True)
class EmbedTask(ScoreTask):
    """Vectors of statements."""

    name = "embed"
    wants = "text"
    rows_at_a_time = STATEMENTS_AT_A_TIME

    model: str = field(default=calls.PREMISE_ENCODER, metadata={"help": "premise_encoder or conjecture_encoder."})

    def __post_init__(self) -> None:
        known = (calls.PREMISE_ENCODER, calls.CONJECTURE_ENCODER)
        if self.model not in known:
            raise InvalidInputError(f"the models that embed are {' and '.join(known)}, got {self.model!r}")

    @property
    def models(self) -> tuple[str, ...]:
        """See `ScoreTask.models`."""
        others = (calls.CONJECTURE_ENCODER, calls.PREMISE_ENCODER, calls.RANKER)
        return (self.model, *(name for name in others if name != self.model))

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `ScoreTask.fields`."""
        (embedding,) = (tensor for tensor in config.outputs if tensor.name == "embedding")
        return [pa.field("embedding", pa.list_(pa.float32(), embedding.dims[-1])), pa.field("truncated", pa.bool_())]

    def check(self) -> Operation[None]:
        """See `ScoreTask.check`."""
        yield from calls.premise_models()

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        encoded = yield from encode_values(self.model, values)
        return [{"embedding": row, "truncated": cut} for row, cut in encoded]
