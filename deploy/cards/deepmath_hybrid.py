"""Chooses the hybrid's weights on the validation split, and keeps what every choice gave.

    python deploy/cards/deepmath_hybrid.py --data ../shared/data/premises/deepmath

It scores each validation conjecture's candidates with the shipped encoder, then tries weights of the cosine and of the
votes. The best mean of recall at 16, 64 and 256, less AMRR, wins; a person writes it into
`clients/tasks/rank_premises/neighbours.py`.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from recording import CARDS, newest_model, write_json

from neurips16.clients.tasks.rank_premises.neighbours import Neighbours, Proofs, SymbolTable
from neurips16.clients.tasks.rank_premises.words import word_hashes
from neurips16.export.registry import Target
from neurips16.export.station import open_station
from neurips16.export.systems.deepmath.evaluation import embed
from neurips16.export.systems.deepmath.models import ENCODER, models
from neurips16.training.data.deepmath.reader import normalise, read_library

CUTOFFS = (16, 64, 256, 1024)
COSINE_WEIGHTS = (0.0, 1.5, 3.0, 4.5, 6.0, 8.0)
VOTE_WEIGHTS = (0.0, 0.5, 0.75, 1.0)
VOTE_FLOORS = (0.05, 0.1, 0.2)


def main() -> None:
    """Score, try, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data set")
    arguments = parser.parse_args()
    library = read_library(arguments.data)
    conjectures = library.select("validation")
    with open_station(Target(model=newest_model(ENCODER)), "deepmath", ENCODER, models) as station:
        goals = embed(station, "conjecture", [library.statements[c.statement] for c in conjectures])
        premises = embed(station, "premise", library.statements)
        size = int(station.parameters["rank_size"])
    hashes = [word_hashes(normalise(statement)) for statement in library.statements]
    proofs = Proofs.of((c.statement, int(i)) for c in library.select("train") for i in c.useful)
    neighbours = Neighbours([SymbolTable.of(hashes)], proofs)
    choices = [*itertools.product(COSINE_WEIGHTS, VOTE_WEIGHTS[1:], VOTE_FLOORS), (0.0, 0.0, 1.0)]
    choices += [(cosine, 0.0, 1.0) for cosine in COSINE_WEIGHTS[1:]]
    ranks: list[list[np.ndarray]] = [[] for _ in choices]
    for conjecture, goal in zip(conjectures, goals, strict=True):
        end = conjecture.statement
        network = premises[:end, :size] @ goal[:size]
        similarity = neighbours.similarity(hashes[end])
        votes = neighbours.votes(similarity, end)
        assert votes is not None  # there are proofs
        similarity, votes = similarity[:end], votes[:end]
        logarithms = {floor: np.log(np.float32(floor) + votes) for floor in (*VOTE_FLOORS, 1.0)}
        for found, (cosine, vote, floor) in zip(ranks, choices, strict=True):
            scores = network + np.float32(cosine) * similarity + np.float32(vote) * logarithms[floor]
            ascending = np.sort(scores[conjecture.useful])
            above = len(ascending) - np.searchsorted(ascending, scores, side="right")  # useful ones above each
            counts = np.bincount(above, minlength=len(ascending) + 1)
            # The useful premise with j useful ones above it has rank: all whose count of those is at most j.
            found.append(np.append(np.cumsum(counts)[: len(ascending)], end))
    results = [
        {"cosine": cosine, "vote": vote, "floor": floor} | _metrics(found)
        for (cosine, vote, floor), found in zip(choices, ranks, strict=True)
    ]
    results.sort(key=lambda result: -result["objective"])
    write_json(CARDS / "deepmath/hybrid_weights.json", {"conjectures": len(conjectures), "choices": results})
    for result in [*results[:5], next(r for r in results if r["cosine"] == r["vote"] == 0)]:
        print({name: round(value, 4) for name, value in result.items()})  # noqa: T201


def _metrics(found: list[np.ndarray]) -> dict[str, float]:
    """AMRR, recalls and the objective from each conjecture's ranks of useful premises and number of candidates."""
    recalls = {f"recall_at_{k}": float(np.mean([(r[:-1] <= k).mean() for r in found])) for k in CUTOFFS}
    amrr = float(np.mean([r[:-1].max() / r[-1] for r in found]))
    objective = float(np.mean([recalls[f"recall_at_{k}"] for k in (16, 64, 256)])) - amrr
    return {"objective": objective, "amrr": amrr, **recalls}


if __name__ == "__main__":
    main()
