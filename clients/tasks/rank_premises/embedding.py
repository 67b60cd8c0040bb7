"""Statements to embeddings: what is sent to the encoder, in which batches, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.operation import Each, Emit, Operation
from neurips16.clients.tasks.rank_premises.premise_models import ENCODER, PremiseModels, output
from neurips16.clients.tasks.rank_premises.statements import Statement

# Statements are padded to lengths that others share, so many from one power of two to the next.
BUCKETS_PER_OCTAVE = 4
SHORTEST_BUCKET = {"words": 16, "text": 64}
NUMBERS_PER_REQUEST = {"words": 4096, "text": 32_768}  # keeps a request of long statements as quick as one of short


@dataclass(frozen=True)
class Encoded:
    """Progress: statements of which no more is to be done."""

    count: int


def embed(models: PremiseModels, side: str, statements: Sequence[Statement]) -> Operation[np.ndarray]:
    """Embeddings [len(statements), D]; statements that the model reads alike are sent once.

    Emits `Encoded` with each answer.

    Args:
        models: what the server told.
        side: "premise" or "conjecture".
        statements: checked with `PremiseModels.check`.
    """
    codes = [models.code(statement) for statement in statements]
    keys = [code.tobytes() for code in codes]
    distinct = dict(zip(keys, codes, strict=True))
    rows = {key: row for row, key in enumerate(distinct)}
    batches = list(_batches(distinct, models))
    name = f"{side}_embedding"
    embeddings = np.empty((len(distinct), models.embedding_size), np.float32)
    each = Each(
        messages.infer(ENCODER, {models.reads: _pad([distinct[key] for key in batch], models)}, outputs=[name])
        for batch in batches
    )
    while (reply := (yield each)) is not None:
        batch = batches[reply.place]
        got = output(reply.result(), ENCODER, name, (len(batch), models.embedding_size))
        embeddings[[rows[key] for key in batch]] = got
        yield Emit(Encoded(len(batch)))
    return embeddings[[rows[key] for key in keys]]


def _batches(codes: dict[bytes, np.ndarray], models: PremiseModels) -> Iterator[list[bytes]]:
    """Keys of statements of one bucket of lengths together, so that the server finds equal shapes to batch."""
    buckets: dict[int, list[bytes]] = {}
    for key, code in codes.items():
        buckets.setdefault(_bucket(len(code), models), []).append(key)
    for length, members in sorted(buckets.items()):
        size = max(1, min(models.max_batch_size, NUMBERS_PER_REQUEST[models.reads] // length))
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _bucket(length: int, models: PremiseModels) -> int:
    """The padded length: at most a quarter more, unless that is shorter than the shortest bucket."""
    length = max(length, SHORTEST_BUCKET[models.reads])
    step = (1 << (length - 1).bit_length() - 1) // BUCKETS_PER_OCTAVE
    return min(max(models.max_length, length), -(-length // step) * step)


def _pad(codes: Sequence[np.ndarray], models: PremiseModels) -> np.ndarray:
    """Codes as rows, zero-padded to the length of their bucket, [N, L]."""
    batch = np.zeros((len(codes), _bucket(max(map(len, codes)), models)), codes[0].dtype)
    for row, code in zip(batch, codes, strict=True):
        row[: len(code)] = code
    return batch
