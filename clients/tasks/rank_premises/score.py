"""Scoring collections of conjectures: the premises of one library that help to prove each."""

from __future__ import annotations

import functools
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
from neurips16.clients.tasks.rank_premises.embedding import embed
from neurips16.clients.tasks.rank_premises.premise_index import MANIFEST as INDEX_MANIFEST
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex, best
from neurips16.clients.tasks.rank_premises.premise_models import ENCODER, premise_models
from neurips16.clients.tasks.rank_premises.statements import Statement, read_conjecture, read_premises
from neurips16.clients.tasks.rank_premises.words import word_hashes

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
        return (ENCODER,)

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
        yield from premise_models()

    def prepare(self, folder: Path) -> Operation[ScoreTask]:
        """See `ScoreTask.prepare`."""
        if PremiseIndex.is_at(self.premises):
            calls.check_build(PremiseIndex.open(self.premises), (yield from premise_models()))
            return replace(self, premises=self.premises.absolute())
        index = folder / "premises.index"
        yield from calls.grow_index(index, read_premises(self.premises))
        return replace(self, premises=index)

    def score(self, values: Sequence[Value]) -> Operation[list[Result]]:
        """See `ScoreTask.score`."""
        models = yield from premise_models()
        statements, encoded = yield from encode_values("conjecture", values)
        index = _opened(self.premises)
        results = []
        for statement, (vector, cut) in zip(statements, encoded, strict=True):
            scores = index.scores(vector[: models.rank_size], word_hashes(statement.formula))
            results.append({"premises": list(self._ranked(index, scores)), "truncated": cut})
        return results

    def _ranked(self, index: PremiseIndex, scores: np.ndarray) -> Iterator[Result]:
        for rank, place in enumerate(best(scores, self.top), start=1):
            yield {"rank": rank, "score": float(scores[place]), "index": int(place), "text": index.text(int(place))}


@functools.lru_cache(maxsize=1)
def _opened(path: Path) -> PremiseIndex:
    """An index does not change while a job ranks against it; opened once, it counts its symbols once."""
    return PremiseIndex.open(path)


def encode_values(
    side: str, values: Sequence[Value]
) -> Operation[tuple[list[Statement], list[tuple[np.ndarray, bool]]]]:
    """The statements; and for each its embedding [D], and whether it is longer than the model reads."""
    models = yield from premise_models()
    statements = [_statement(value, row) for row, value in enumerate(values)]
    truncated = set(models.check(statements))
    embeddings = yield from embed(models, side, statements)
    return statements, [(embedding, row in truncated) for row, embedding in enumerate(embeddings)]


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
