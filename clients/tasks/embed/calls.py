"""Statements as vectors, by the encoder of premise ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.tasks.rank_premises.embedding import embed as embed_parsed
from neurips16.clients.tasks.rank_premises.premise_models import SIDES, premise_models
from neurips16.clients.tasks.rank_premises.statements import Statement, parse_all


def embed(statements: Sequence[str | Statement], *, side: str = "premise") -> Operation[np.ndarray]:
    """Vectors of statements, float32 [len(statements), D]; what is longer than the model reads is cut off.

    Args:
        statements: ``fof(name, role, formula).`` or bare formulas; equal ones are encoded once.
        side: as what: "premise" or "conjecture".

    Raises:
        InvalidInputError: a statement cannot be used, or there is no such side.
    """
    if isinstance(statements, str):
        raise InvalidInputError("embed takes a sequence of statements, got one text: put it into a list")
    if side not in SIDES:
        raise InvalidInputError(f"side is one of {', '.join(SIDES)}, got {side!r}")
    parsed = parse_all(statements)
    models = yield from premise_models()
    models.check(parsed)
    return (yield from embed_parsed(models, side, parsed))
