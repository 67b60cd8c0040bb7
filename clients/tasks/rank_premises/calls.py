"""Premise ranking without IO: what is asked of the encoder of deepmath, and what is made of its answers.

Sizes, the form of the input and the build come from the model's configuration on the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from neurips16.clients.protocol.errors import IndexMismatchError, InvalidInputError
from neurips16.clients.protocol.operation import Emit, Operation
from neurips16.clients.tasks.rank_premises.embedding import Encoded, embed
from neurips16.clients.tasks.rank_premises.neighbours import Neighbours, SymbolTable, combine
from neurips16.clients.tasks.rank_premises.premise_index import PremiseIndex, best
from neurips16.clients.tasks.rank_premises.premise_models import PremiseModels, premise_models
from neurips16.clients.tasks.rank_premises.statements import Statement, parse_all
from neurips16.clients.tasks.rank_premises.words import word_hashes

STATEMENTS_PER_COMMIT = 4096
UNLIKE_SHARE = 0.25  # a statement of whose symbols training saw no more is unlike anything there
Method = Literal["hybrid", "network", "neighbours"]


@dataclass(frozen=True)
class RankedPremise:
    """One premise and what was made of it."""

    rank: int  # 1 is the best
    score: float  # higher is more useful; scores of different methods are not alike
    index: int  # position in the list, or zero-based line of the file, or position in the index
    name: str  # "" for a bare formula
    text: str  # the statement as it was given


@dataclass(frozen=True)
class PremiseRanking(Sequence[RankedPremise]):
    """Premises, best first."""

    premises: tuple[RankedPremise, ...]
    max_length: int  # words (or characters, white space not counted) of a formula that the model reads
    unit: str  # which of them
    truncated: tuple[int, ...]  # indexes of the premises that are longer: the rest of them was not read
    conjecture_truncated: bool
    excluded: int = 0  # premises that were left out because a proof must not use them
    known_share: float | None = None  # of the conjecture's symbols, those that training saw; None: not told

    @property
    def unlike_training(self) -> bool:
        """Whether the model saw nothing like the conjecture, so that only shared symbols speak for a premise."""
        return self.known_share is not None and self.known_share <= UNLIKE_SHARE

    def __len__(self) -> int:
        return len(self.premises)

    def __getitem__(self, item):
        return self.premises[item]


def rank_premises(
    conjecture: str | Statement,
    premises: Sequence[str | Statement] | PremiseIndex,
    *,
    top_k: int | None = None,
    for_proof: bool = False,
    method: Method = "hybrid",
) -> Operation[PremiseRanking]:
    """The premises by how useful each looks for a proof of the conjecture, best first.

    Args:
        conjecture: ``fof(name, role, formula).`` or a bare formula.
        premises: the same, equal ones being encoded once; or an index, whose premises are encoded already.
        top_k: how many to return; all, if None.
        for_proof: leave out what a proof must not use: the conjecture itself (its name or its formula) and, in an
            index that holds a statement of its name, that statement and all after it, which may be proved with it.
        method: "network", what the model has learnt; "neighbours", what shares rare symbols with the conjecture or
            was needed, as far as the index knows, to prove what does; "hybrid", the sum of both.

    Emits `Encoded` while premises are encoded.

    Raises:
        InvalidInputError: a statement cannot be used, there is no premise, or the index is of another build.
    """
    if top_k is not None and top_k < 1:
        raise InvalidInputError(f"top_k is at least 1, or None for all, got {top_k}")
    if method not in get_args(Method):
        raise InvalidInputError(f"method is one of {', '.join(get_args(Method))}, got {method!r}")
    goal = conjecture if isinstance(conjecture, Statement) else Statement.parse(conjecture, where="the conjecture")
    if isinstance(premises, str) or len(premises) == 0:
        raise InvalidInputError("no premises: give a sequence of at least one statement")
    models = yield from premise_models()
    goal_truncated = bool(models.check([goal]))
    statements: list[Statement] = []
    if isinstance(premises, PremiseIndex):
        check_build(premises, models)
        truncated = premises.truncated
    else:
        statements = [s for s in parse_all(premises) if not (for_proof and s.is_same_as(goal))]
        truncated = models.check(statements)
    vector = None if method == "neighbours" else (yield from embed(models, "conjecture", [goal]))[0]
    if isinstance(premises, PremiseIndex):
        before = premises.place_of(goal.name) if for_proof else None
        network = None if vector is None else vector[: models.rank_size]
        scores = premises.scores(network, word_hashes(goal.formula), method, before)
        found, excluded = _best_of_index(premises, scores, goal, top_k, for_proof)
    else:
        scores = yield from _scores(models, goal, vector, statements, method)
        found = [(int(place), statements[place]) for place in best(scores, top_k)]
        excluded = len(premises) - len(statements)
    ranked = tuple(
        RankedPremise(number, float(scores[place]), statement.index, statement.name, statement.text)
        for number, (place, statement) in enumerate(found, start=1)
    )
    known = None if vector is None or models.known_share_at is None else float(vector[models.known_share_at])
    return PremiseRanking(ranked, models.max_length, models.unit, truncated, goal_truncated, excluded, known)


def _scores(
    models: PremiseModels, goal: Statement, vector: np.ndarray | None, statements: Sequence[Statement], method: Method
) -> Operation[np.ndarray]:
    """The scores of a list of statements [N]; ``vector`` is the goal's embedding where the method needs it."""
    network = None
    if vector is not None:
        embeddings = yield from embed(models, "premise", statements)
        # Row by row, so that equal statements have equal scores.
        network = np.einsum("nd,d->n", embeddings[:, : models.rank_size], vector[: models.rank_size])
    neighbours = Neighbours([SymbolTable.of([word_hashes(s.formula) for s in statements])])
    return combine(method, network, neighbours.similarity(word_hashes(goal.formula)), None)


def _best_of_index(
    index: PremiseIndex, scores: np.ndarray, goal: Statement, top_k: int | None, for_proof: bool
) -> tuple[list[tuple[int, Statement]], int]:
    """The best statements with their places, and how many were left out."""
    excluded = len(index) - len(scores)
    found: list[tuple[int, Statement]] = []
    # Of those that state the same as the conjecture there may be any number, so as many more are looked at as it takes.
    for place in best(scores, None if for_proof else top_k):
        statement = Statement.parse(index.text(int(place)), index=int(place))
        if for_proof and statement.is_same_as(goal):
            excluded += 1
        else:
            found.append((int(place), statement))
        if len(found) == top_k:
            break
    return found, excluded


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
        index = PremiseIndex.create(
            path, build=models.build, max_length=models.max_length, unit=models.unit, embedding_size=models.rank_size
        )
    known = set(index.texts())
    added = [statement for text, statement in {s.text: s for s in reversed(statements)}.items() if text not in known]
    added.sort(key=lambda statement: statement.index)
    yield Emit(Encoded(len(statements) - len(added)))
    truncated: list[int] = []
    for start in range(0, len(added), STATEMENTS_PER_COMMIT):
        part = added[start : start + STATEMENTS_PER_COMMIT]
        embeddings = yield from embed(models, "premise", part)
        check_build(index, (yield from premise_models()))  # the server may have loaded another model meanwhile
        cut = models.check(part)
        index = index.extend(part, embeddings[:, : models.rank_size], truncated=cut)
        truncated += cut
    return IndexGrowth(index, tuple(added), tuple(truncated))


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
