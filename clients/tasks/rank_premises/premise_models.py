"""The encoder of premise ranking, as a server describes it: sizes, the form of its input, its build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.tasks.rank_premises.statements import Statement, check_characters
from neurips16.clients.tasks.rank_premises.words import word_hashes

ENCODER = "premise_encoder"
SIDES = ("premise", "conjecture")


@dataclass(frozen=True)
class PremiseModels:
    """The facts that a server tells about its encoder."""

    reads: str  # "words" or "text": the input of the encoder
    alphabet: frozenset[str]  # of text
    max_length: int  # words or characters
    build: str  # of one training run
    embedding_size: int
    rank_size: int  # numbers of an embedding whose product ranks; the rest makes the logit
    max_batch_size: int
    known_share_at: int | None  # where in a conjecture's embedding the share of its symbols is that training saw

    @property
    def unit(self) -> str:
        """What lengths count."""
        return "words" if self.reads == "words" else "characters"

    def code(self, statement: Statement) -> np.ndarray:
        """What the encoder reads of a statement, [L]: hashes INT64, or bytes UINT8; cut at `max_length`."""
        if self.reads == "words":
            return word_hashes(statement.formula)[: self.max_length]
        return np.frombuffer(statement.code[: self.max_length].encode("ascii"), np.uint8)

    def check(self, statements: Sequence[Statement]) -> tuple[int, ...]:
        """See that the models can read the statements; the indexes of those that they cannot read to the end.

        Raises:
            InvalidStatementError: a character is not in the alphabet.
        """
        if self.reads == "words":
            lengths = [len(word_hashes(s.formula)) if len(s.formula) > self.max_length else 0 for s in statements]
        else:
            check_characters(statements, self.alphabet)
            lengths = [len(s.code) for s in statements]
        return tuple(s.index for s, length in zip(statements, lengths, strict=True) if length > self.max_length)


def premise_models() -> Operation[PremiseModels]:
    """Ask the server about its encoder.

    Returns:
        What it reads and what it was built with.

    Raises:
        UnexpectedReplyError: it is not what `neurips16 export` makes of deepmath.
    """
    (encoder,) = yield [messages.model_config(ENCODER)]
    alphabet = encoder.parameters.get("alphabet", "")
    if not alphabet.isascii():
        raise UnexpectedReplyError(f"model {encoder.name!r} has an alphabet beyond ASCII, where a character is a byte")
    return PremiseModels(
        reads="text" if alphabet else "words",
        alphabet=frozenset(alphabet) - frozenset(" \t\r\n"),
        max_length=_number(encoder, "max_length"),
        build=_parameter(encoder, "build"),
        embedding_size=_number(encoder, "embedding_size"),
        rank_size=_number(encoder, "rank_size"),
        max_batch_size=max(1, encoder.max_batch_size),
        known_share_at=_number(encoder, "known_share_at") if "known_share_at" in encoder.parameters else None,
    )


def output(answer: dict[str, np.ndarray], model: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One output, seen to be what was asked for: a wrong or undefined number must not become a rank.

    Raises:
        UnexpectedReplyError: it is missing, of another type or shape, or not finite.
    """
    got = answer.get(name)
    if got is None:
        raise UnexpectedReplyError(
            f"model {model!r} did not answer with {name!r}, but with {', '.join(answer) or 'nothing'}"
        )
    if got.dtype != np.float32 or got.shape != shape:
        raise UnexpectedReplyError(
            f"model {model!r} answered {name!r} as {got.dtype} {list(got.shape)}, expected float32 {list(shape)}"
        )
    if not np.isfinite(got).all():
        raise UnexpectedReplyError(f"model {model!r} answered {name!r} with numbers that are not finite")
    return got


def _parameter(config: ModelConfig, name: str) -> str:
    if not (value := config.parameters.get(name, "")):
        raise UnexpectedReplyError(
            f"model {config.name!r} has no parameter {name!r} in its configuration: it is not one that "
            f"`neurips16 export deepmath` wrote"
        )
    return value


def _number(config: ModelConfig, name: str) -> int:
    value = _parameter(config, name)
    if not value.isdecimal() or int(value) < 1:
        raise UnexpectedReplyError(f"model {config.name!r} has {name} {value!r}, which is no positive number")
    return int(value)
