"""Statements as vectors, by the encoders of the premise models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurips16.clients.protocol.errors import InvalidInputError
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.tasks.rank_premises.calls import CONJECTURE_ENCODER, PREMISE_ENCODER, encode, premise_models
from neurips16.clients.tasks.rank_premises.statements import Statement, parse_all


def embed(statements: Sequence[str | Statement], *, model: str = PREMISE_ENCODER) -> Operation[np.ndarray]:
    """Vectors of statements, float32 [len(statements), D]; what is longer than the model reads is cut off.

    Args:
        statements: ``fof(name, role, formula).`` or bare formulas; equal ones are encoded once.
        model: ``premise_encoder`` or ``conjecture_encoder``.

    Raises:
        InvalidInputError: a statement cannot be used, or no encoder has this name.
    """
    if isinstance(statements, str):
        raise InvalidInputError("embed takes a sequence of statements, got one text: put it into a list")
    if model not in (PREMISE_ENCODER, CONJECTURE_ENCODER):
        raise InvalidInputError(f"the models that embed are {PREMISE_ENCODER} and {CONJECTURE_ENCODER}, got {model!r}")
    parsed = parse_all(statements)
    models = yield from premise_models()
    models.check(parsed)
    return (yield from encode(models, model, parsed))
