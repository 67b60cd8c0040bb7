"""Scoring collections of statements: a vector for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.scoring.task import Result, ScoreTask, Value
from neurips16.clients.tasks.rank_premises.premise_models import ENCODER, SIDES, premise_models
from neurips16.clients.tasks.rank_premises.score import STATEMENTS_AT_A_TIME, encode_values


@dataclass(frozen=True)
class EmbedTask(ScoreTask):
    """Vectors of statements."""

    name = "embed"
    wants = "text"
    rows_at_a_time = STATEMENTS_AT_A_TIME

    side: str = field(default="premise", metadata={"help": "As what: premise or conjecture."})

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise InvalidInputError(f"side is one of {', '.join(SIDES)}, got {self.side!r}")

    @property
    def models(self) -> tuple[str, ...]:
        """See `ScoreTask.models`."""
        return (ENCODER,)

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `ScoreTask.fields`."""
        (embedding,) = (tensor for tensor in config.outputs if tensor.name == f"{self.side}_embedding")
        return [pa.field("embedding", pa.list_(pa.float32(), embedding.dims[-1])), pa.field("truncated", pa.bool_())]

    def check(self) -> Operation[None]:
        """See `ScoreTask.check`."""
        yield from premise_models()

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        _, encoded = yield from encode_values(self.side, values)
        return [{"embedding": row, "truncated": cut} for row, cut in encoded]
