"""Premise ranking without IO: what is sent to the three models of deepmath, and what is made of their answers.

Sizes, alphabet and build come from the models' configurations on the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import IndexMismatchError, InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.messages import ModelConfig
from neurips16.clients.protocol.operation import Each, Emit, Operation
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex, best
from neurips16.clients.tasks.rank_premises.statements import Statement, check_characters, parse_all

CONJECTURE_ENCODER = "conjecture_encoder"
PREMISE_ENCODER = "premise_encoder"
RANKER = "premise_ranker"

# Statements are padded to lengths that others share, so many from one power of two to the next.
BUCKETS_PER_OCTAVE = 4
SHORTEST_BUCKET = 64  # characters
CHARACTERS_PER_REQUEST = 32_768  # keeps a request of the longest statements as quick as one of short ones
SCORE_BYTES_PER_REQUEST = 1 << 20
STATEMENTS_PER_COMMIT = 1024


@dataclass(frozen=True)
class RankedPremise:
    """One premise and the model's opinion of it."""

    rank: int  # 1 is the best
    score: float  # a logit: higher is more useful
    index: int  # position in the list, or zero-based line of the file, or position in the index
    name: str  # "" for a bare formula
    text: str  # the statement as it was given


@dataclass(frozen=True)
class PremiseRanking(Sequence[RankedPremise]):
    """Premises, best first."""

    premises: tuple[RankedPremise, ...]
    max_length: int  # characters of a formula, white space not counted, that the model reads
    truncated: tuple[int, ...]  # indexes of the premises that are longer: the rest of them was not read
    conjecture_truncated: bool
    excluded: int = 0  # premises that were left out because a proof must not use them

    def __len__(self) -> int:
        return len(self.premises)

    def __getitem__(self, item):
        return self.premises[item]


@dataclass(frozen=True)
class Encoded:
    """Progress: statements of which no more is to be done."""

    count: int


@dataclass(frozen=True)
class PremiseModels:
    """The facts that a server tells about its premise models."""

    alphabet: frozenset[str]
    max_length: int
    build: str  # shared by the three models of one training run
    embedding_size: int
    max_batch_sizes: dict[str, int]

    def check(self, statements: Sequence[Statement]) -> tuple[int, ...]:
        """See that the models can read the statements; the indexes of those that they cannot read to the end.

        Raises:
            InvalidStatementError: a character is not in the alphabet.
        """
        check_characters(statements, self.alphabet)
        return tuple(statement.index for statement in statements if len(statement.code) > self.max_length)


def premise_models() -> Operation[PremiseModels]:
    """Ask the server about its three models.

    Returns:
        What the encoders read and what they were built with.

    Raises:
        UnexpectedReplyError: they are not what `neurips16 export` makes of deepmath, or not of the same training run.
    """
    configs = yield [messages.model_config(name) for name in (CONJECTURE_ENCODER, PREMISE_ENCODER, RANKER)]
    builds = {config.name: _parameter(config, "build") for config in configs}
    if len(set(builds.values())) > 1:
        said = ", ".join(f"{name} {build}" for name, build in builds.items())
        raise UnexpectedReplyError(f"the server's models are of different training runs ({said}): export them together")
    encoder, ranker = configs[1], configs[2]
    if not (alphabet := _parameter(encoder, "alphabet")).isascii():
        raise UnexpectedReplyError(f"model {encoder.name!r} has an alphabet beyond ASCII, where a character is a byte")
    return PremiseModels(
        alphabet=frozenset(alphabet) - frozenset(" \t\r\n"),
        max_length=_number(encoder, "max_length"),
        build=builds[RANKER],
        embedding_size=_number(ranker, "embedding_size"),
        max_batch_sizes={config.name: max(1, config.max_batch_size) for config in configs},
    )


def encode(models: PremiseModels, model: str, statements: Sequence[Statement]) -> Operation[np.ndarray]:
    """Embeddings [len(statements), D] from one of the encoders; equal formulas are sent once.

    Emits `Encoded` with each answer.

    Args:
        models: what the server told.
        model: `CONJECTURE_ENCODER` or `PREMISE_ENCODER`.
        statements: checked with `PremiseModels.check`.
    """
    codes = [statement.code[: models.max_length] for statement in statements]
    distinct = list(dict.fromkeys(codes))
    rows = {code: row for row, code in enumerate(distinct)}
    batches = list(_batches(distinct, models, models.max_batch_sizes[model]))
    embeddings = np.empty((len(distinct), models.embedding_size), np.float32)
    each = Each(messages.infer(model, {"text": _pad(batch, models)}, outputs=["embedding"]) for batch in batches)
    while (reply := (yield each)) is not None:
        batch = batches[reply.place]
        got = _output(reply.result(), model, "embedding", (len(batch), models.embedding_size))
        embeddings[[rows[code] for code in batch]] = got
        yield Emit(Encoded(len(batch)))
    return embeddings[[rows[code] for code in codes]]


def score(models: PremiseModels, conjecture: np.ndarray, premises: np.ndarray) -> Operation[np.ndarray]:
    """The ranker's scores [P] for an encoded conjecture [D] and encoded premises [P, D]."""
    step = max(1, SCORE_BYTES_PER_REQUEST // (4 * models.embedding_size))
    blocks = [premises[start : start + step] for start in range(0, len(premises), step)]
    answers = yield (
        messages.infer(RANKER, {"conjecture": conjecture[None], "premises": block[None]}, outputs=["scores"])
        for block in blocks
    )
    scores = [_output(a, RANKER, "scores", (1, len(b)))[0] for a, b in zip(answers, blocks, strict=True)]
    return np.concatenate([np.empty(0, np.float32), *scores])


def output_weights(models: PremiseModels) -> Operation[np.ndarray]:
    """The last layer of the ranker, [D + 1]: the weights, then the bias."""
    size = models.embedding_size
    inputs = {"conjecture": np.zeros((1, size), np.float32), "premises": np.zeros((1, 1, size), np.float32)}
    (answer,) = yield [messages.infer(RANKER, inputs, outputs=["output_weights"])]
    return _output(answer, RANKER, "output_weights", (1, size + 1))[0]


def rank_premises(
    conjecture: str | Statement,
    premises: Sequence[str | Statement] | PremiseIndex,
    *,
    top_k: int | None = None,
    for_proof: bool = False,
) -> Operation[PremiseRanking]:
    """The premises by how useful the model thinks each is to prove the conjecture, best first.

    Args:
        conjecture: ``fof(name, role, formula).`` or a bare formula.
        premises: the same, equal ones being encoded once; or an index, whose premises are encoded already.
        top_k: how many to return; all, if None.
        for_proof: leave out what a proof must not use: the conjecture itself (its name or its formula) and, in an
            index that holds a statement of its name, that statement and all after it, which may be proved with it.

    Emits `Encoded` while premises are encoded.

    Raises:
        InvalidInputError: a statement cannot be used, there is no premise, or the index is of another build.
    """
    if top_k is not None and top_k < 1:
        raise InvalidInputError(f"top_k is at least 1, or None for all, got {top_k}")
    goal = conjecture if isinstance(conjecture, Statement) else Statement.parse(conjecture, where="the conjecture")
    if isinstance(premises, str) or len(premises) == 0:
        raise InvalidInputError("no premises: give a sequence of at least one statement")
    index: PremiseIndex | None = None
    statements: list[Statement] = []
    excluded = 0
    if isinstance(premises, PremiseIndex):
        index = premises
    else:
        statements = [s for s in parse_all(premises) if not (for_proof and s.is_same_as(goal))]
        excluded = len(premises) - len(statements)

    models = yield from premise_models()
    if index is not None:
        check_build(index, models)
    goal_truncated = bool(models.check([goal]))
    truncated = models.check(statements) if index is None else index.truncated
    (goal_embedding,) = yield from encode(models, CONJECTURE_ENCODER, [goal])
    if index is None:
        embeddings = yield from encode(models, PREMISE_ENCODER, statements)
        scores = yield from score(models, goal_embedding, embeddings)
        found = [(place, statements[place]) for place in best(scores, top_k)]
    else:
        scores = index.scores(goal_embedding)[: index.place_of(goal.name) if for_proof else None]
        excluded = len(index) - len(scores)
        found = []
        for place in best(scores, None if for_proof else top_k):
            statement = Statement.parse(index.text(place), index=int(place))
            if for_proof and statement.is_same_as(goal):
                excluded += 1
            else:
                found.append((place, statement))
            if len(found) == top_k:
                break
    ranked = tuple(
        RankedPremise(number, float(scores[place]), statement.index, statement.name, statement.text)
        for number, (place, statement) in enumerate(found, start=1)
    )
    return PremiseRanking(ranked, models.max_length, truncated, goal_truncated, excluded)


@dataclass(frozen=True)
class IndexGrowth:
    """What `grow_index` did."""

    index: PremiseIndex
    added: tuple[Statement, ...]  # those that the index lacked
    truncated: tuple[int, ...]  # indexes of those of them that are longer than the model reads


def grow_index(path: str | Path, premises: Sequence[str | Statement]) -> Operation[IndexGrowth]:
    """Make an index of premises, or add to one the statements that it lacks.

    What is encoded is kept every `STATEMENTS_PER_COMMIT` statements: a run that was broken off goes on from there.

    Args:
        path: the index.
        premises: statements; one whose text is in the index already is passed over.

    Emits `Encoded`, for statements that the index has, too.

    Raises:
        InvalidInputError: a statement or the path cannot be used, or the index is of another build.
    """
    statements = parse_all(premises)
    models = yield from premise_models()
    models.check(statements)
    if PremiseIndex.is_at(path):
        index = PremiseIndex.open(path)
        check_build(index, models)
    else:
        weights = yield from output_weights(models)
        index = PremiseIndex.create(path, build=models.build, max_length=models.max_length, output_weights=weights)
    known = set(index.texts())
    added = [statement for text, statement in {s.text: s for s in reversed(statements)}.items() if text not in known]
    added.sort(key=lambda statement: statement.index)
    yield Emit(Encoded(len(statements) - len(added)))
    for start in range(0, len(added), STATEMENTS_PER_COMMIT):
        part = added[start : start + STATEMENTS_PER_COMMIT]
        embeddings = yield from encode(models, PREMISE_ENCODER, part)
        check_build(index, (yield from premise_models()))  # the server may have loaded other models meanwhile
        index = index.extend(part, embeddings)
    return IndexGrowth(index, tuple(added), models.check(added))


def check_build(index: PremiseIndex, models: PremiseModels) -> None:
    """See that an index was made by the models that the server holds.

    Raises:
        IndexMismatchError: it was not.
    """
    if index.build != models.build:
        raise IndexMismatchError(
            f"the index {index.path} was made by build {index.build} of the models, the server holds build "
            f"{models.build}: make a new index with `neurips16 index-premises`, at another path"
        )


def _batches(codes: list[str], models: PremiseModels, max_batch_size: int) -> Iterator[list[str]]:
    """Formulas of one bucket of lengths together, so that the server finds equal shapes to batch."""
    buckets: dict[int, list[str]] = {}
    for code in codes:
        buckets.setdefault(_bucket(len(code), models.max_length), []).append(code)
    for length, members in sorted(buckets.items()):
        size = max(1, min(max_batch_size, CHARACTERS_PER_REQUEST // length))
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _bucket(length: int, max_length: int) -> int:
    """The padded length: at most a quarter more, unless that is shorter than the shortest bucket."""
    length = max(length, SHORTEST_BUCKET)
    step = (1 << (length - 1).bit_length() - 1) // BUCKETS_PER_OCTAVE
    return min(max_length, -(-length // step) * step)


def _pad(batch: list[str], models: PremiseModels) -> np.ndarray:
    """The formulas as bytes, zero-padded to the length of their bucket, UINT8 [N, L]."""
    length = _bucket(max(map(len, batch)), models.max_length)
    rows = [code.encode("ascii").ljust(length, b"\0") for code in batch]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(batch), length)


def _output(answer: dict[str, np.ndarray], model: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One output, seen to be what was asked for: a wrong or undefined number must not become a rank."""
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
