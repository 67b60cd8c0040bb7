"""Count-based novelty of states: the model hashes them, and equal codes are counted here, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.operation import Operation

MODEL = "simhash"
DEFAULT_BITS = 16


@dataclass(frozen=True)
class Novelty:
    """How new each of N states is among all of them.

    Attributes:
        scores: float64 [N], 1/√count, the exploration bonus: 1 for what is like nothing else.
        counts: int64 [N], how many states have the same code, the state itself included.
        codes: uint8 [N, K], the bits.
    """

    scores: np.ndarray
    counts: np.ndarray
    codes: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Row numbers int64 [N], the newest first; ties as they came."""
        return np.argsort(self.counts, kind="stable")


def novelty(states: np.ndarray, *, bits: int = DEFAULT_BITS, centre: bool = True) -> Operation[Novelty]:
    """How new each state is, by counting states with its code.

    Args:
        states: numbers [N, D], such as embeddings, one state in each row.
        bits: of the code: more of them tell more states apart, so that more of them are new.
        centre: subtract the mean of each column first; else directions are compared as seen from zero.

    Raises:
        InvalidInputError: the states are no finite table, or too wide, or there are no such codes.
        UnexpectedReplyError: the server's model is another.
    """
    try:
        table = np.asarray(states, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError("states are a table of numbers [N, D]") from error
    if table.ndim != 2 or not table.size:
        raise InvalidInputError(f"states are a table of numbers [N, D], got shape {list(table.shape)}")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(1))[0])
        raise InvalidInputError(f"row {row} holds a number that is infinite or none: leave such rows out")
    (config,) = yield [messages.model_config(MODEL)]
    try:
        widest, most_bits = int(config.parameters["largest_state"]), int(config.parameters["bits_range"].split()[1])
    except (KeyError, ValueError, IndexError) as error:
        raise UnexpectedReplyError(f"model {MODEL!r} does not say what it hashes: it is another") from error
    if table.shape[1] > widest:
        raise InvalidInputError(f"the model hashes rows of at most {widest} numbers, got {table.shape[1]}")
    if not 1 <= bits <= most_bits:
        raise InvalidInputError(f"bits lie in 1 … {most_bits}, got {bits}")
    rows = (table - table.mean(0) if centre else table).astype(np.float32)
    size = max(1, config.max_batch_size)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    answers = yield (
        messages.infer(MODEL, {"states": part, "bits": np.full((len(part), 1), bits)}, outputs=["code"])
        for part in parts
    )
    for part, answer in zip(parts, answers, strict=True):
        code = answer.get("code")
        if code is None or code.dtype != np.uint8 or code.shape != (len(part), most_bits):
            raise UnexpectedReplyError(f"model {MODEL!r} did not answer with uint8 {[len(part), most_bits]} as 'code'")
    codes = np.concatenate([answer["code"] for answer in answers])[:, :bits]
    _, place, seen = np.unique(np.packbits(codes, axis=1), axis=0, return_inverse=True, return_counts=True)
    counts = seen[place.reshape(-1)]
    return Novelty(counts**-0.5, counts, codes)
