"""Scoring collections of conjectures: the premises of one library that help to prove each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neurips16.clients.protocol.errors import InvalidInputError, InvalidStatementError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.scoring.task import Result, ScoreTask, Value
from neurips16.clients.tasks.rank_premises import calls
from neurips16.clients.tasks.rank_premises.premise_index import MANIFEST as INDEX_MANIFEST
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex, best
from neurips16.clients.tasks.rank_premises.statements import Statement, read_conjecture, read_premises

STATEMENTS_AT_A_TIME = 64


@dataclass(frozen=True)
class RankPremisesTask(ScoreTask):
    """The premises of one library that help to prove each conjecture."""

    name = "rank-premises"
    wants = "text"
    rows_at_a_time = STATEMENTS_AT_A_TIME

    premises: Path = field(metadata={"help": "An index of them, or a file of statements, one a line."})
    top: int = field(default=10, metadata={"help": "Keep the best so many."})

    def __post_init__(self) -> None:
        if self.top < 1:
            raise InvalidInputError(f"top is at least 1, got {self.top}")

    @property
    def models(self) -> tuple[str, ...]:
        """See `ScoreTask.models`."""
        return (calls.RANKER, calls.CONJECTURE_ENCODER, calls.PREMISE_ENCODER)

    def options(self) -> dict[str, Any]:
        """See `ScoreTask.options`."""
        path = self.premises / INDEX_MANIFEST if PremiseIndex.is_at(self.premises) else self.premises
        try:
            return {"top": self.top, "premises": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
        except OSError as error:
            raise InvalidInputError(f"the premises {path} cannot be read: {error.strerror}") from error

    def fields(self, config: ModelConfig) -> list[pa.Field]:
        """See `ScoreTask.fields`."""
        ranked = [("rank", pa.int32()), ("score", pa.float32()), ("index", pa.int64()), ("text", pa.string())]
        return [pa.field("premises", pa.list_(pa.struct(ranked))), pa.field("truncated", pa.bool_())]

    def check(self) -> Operation[None]:
        """See `ScoreTask.check`."""
        yield from calls.premise_models()

    def prepare(self, folder: Path) -> Operation[ScoreTask]:
        """See `ScoreTask.prepare`."""
        if PremiseIndex.is_at(self.premises):
            calls.check_build(PremiseIndex.open(self.premises), (yield from calls.premise_models()))
            return replace(self, premises=self.premises.absolute())
        index = folder / "premises.index"
        yield from calls.grow_index(index, read_premises(self.premises))
        return replace(self, premises=index)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        encoded = yield from encode_values(calls.CONJECTURE_ENCODER, values)
        index = PremiseIndex.open(self.premises)  # memory-mapped: opening it again costs little
        return [{"premises": list(self._ranked(index, row)), "truncated": cut} for row, cut in encoded]

    def _ranked(self, index: PremiseIndex, conjecture: np.ndarray) -> Iterator[Result]:
        scores = index.scores(conjecture)
        for rank, place in enumerate(best(scores, self.top), start=1):
            yield {"rank": rank, "score": float(scores[place]), "index": int(place), "text": index.text(int(place))}


def encode_values(model: str, values: Sequence[Value]) -> Operation[list[tuple[np.ndarray, bool]]]:
    """Each statement's embedding [D], and whether it is longer than the model reads."""
    models = yield from calls.premise_models()
    statements = [_statement(value, row) for row, value in enumerate(values)]
    truncated = set(models.check(statements))
    embeddings = yield from calls.encode(models, model, statements)
    return [(embedding, row in truncated) for row, embedding in enumerate(embeddings)]


def _statement(value: Value, row: int) -> Statement:
    if isinstance(value, Path):
        statement = read_conjecture(value)
        return Statement(statement.text, row, statement.where, statement.name, statement.formula)
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidStatementError(f"the statement is not UTF-8: byte 0x{value[error.start]:02x}") from error
    return Statement.parse(value, index=row)
