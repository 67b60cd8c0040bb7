"""DeepMath's metrics: pair accuracy, AMRR, recall, and conjectures that E proves from the best k."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neurips16.export.errors import EvaluationError
from neurips16.export.options import positive_integer, spread
from neurips16.export.registry import Target
from neurips16.export.station import Station, open_station
from neurips16.export.systems.deepmath.inputs import text_batch, word_batch
from neurips16.export.systems.deepmath.methods import METHODS, MethodRanker
from neurips16.export.systems.deepmath.models import ENCODER, MAX_BATCH_SIZE, models
from neurips16.export.systems.deepmath.proof_runs import ALL, ProofRuns
from neurips16.training.data.deepmath.reader import Conjecture, Library, read_library
from neurips16.training.metrics.premise_ranking import DotRanker, Ranker, pair_accuracy, ranking_metrics
from neurips16.training.systems.deepmath.baselines import BASELINES

OPTIONS = {
    "sample": "measure on so many conjectures of the split, evenly spaced, instead of all",
    "seed": "with sample: draw it at random by this number; a smaller sample is the start of a larger one",
    "ranking": "no: leave out amrr and recall, which need an encoding of the whole library",
    "method": "network (default), neighbours or hybrid: what ranks; the proofs of the training split vote",
    "prove": "K,K,…: also run E on the K best premises of each conjecture; all: on all before it, selected by SInE",
    "names": "a file with conjecture names, one a line: measure on those only (such as M2k_list)",
    "timeout-s": "seconds of a processor that E has for each conjecture and K (default 5)",
    "log": "a file that gets each run of E as a line of JSON; runs that it holds already are not made again",
}
_log = logging.getLogger(__name__)


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """Measure a target on a data set in its public layout.

    Args:
        target: a checkpoint, an exported encoder or ranker within its repository, a server, or a baseline.
        data: the data set's folder.
        split: "test" or "all".
        options: see `OPTIONS`.

    Returns:
        ``conjectures``, ``pairs``, ``pair_accuracy``; unless ``ranking`` is "no", ``amrr`` and ``recall_at_16`` to
        ``recall_at_1024``; for each K of ``prove``, ``proved_at_K``, the share of the conjectures.

    Raises:
        EvaluationError: an option's value cannot be used, or the exported models do not belong together.
    """
    library = read_library(data)
    conjectures = _chosen(library, split, options)
    tops = _tops(options["prove"]) if "prove" in options else []
    ranking = options.get("ranking", "yes") != "no"
    if (ranking or tops) and not library.ordered:
        _log.warning("%s has no mizar40/statements(.used): amrr, recall and proofs need the library order", data)
        ranking, tops = False, []
    method = options.get("method", "network")
    if method not in METHODS or (target.baseline is not None and "method" in options):
        raise EvaluationError(f"--method is one of {', '.join(METHODS)}, and not for a baseline; got {method!r}")
    whole_library = ranking or bool(tops) or method != "network"
    ranker = _ranker(target, library, conjectures, method, whole_library=whole_library)
    metrics: dict[str, float] = {
        "conjectures": len(conjectures),
        "pairs": sum(len(c.useful) + len(c.useless) for c in conjectures),
        "pair_accuracy": pair_accuracy(conjectures, ranker),
    }
    if ranking:
        metrics |= ranking_metrics(library, conjectures, ranker)
    if tops:
        log = Path(options["log"]) if "log" in options else None
        runs = ProofRuns(library, ranker, float(options.get("timeout-s", "5")), log)
        metrics |= runs.proved(conjectures, tops)
    return metrics


def _chosen(library: Library, split: str, options: Mapping[str, str]) -> list[Conjecture]:
    conjectures = library.select(split)
    if "names" in options:
        try:
            names = set(Path(options["names"]).read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise EvaluationError(f"--names {options['names']}: cannot be read as text: {error}") from error
        conjectures = [c for c in conjectures if c.name in names]
    if "sample" in options:
        size = positive_integer(options, "sample")
        if "seed" in options:
            places = np.random.default_rng(positive_integer(options, "seed")).permutation(len(conjectures))[:size]
        else:
            places = spread(len(conjectures), size)
        conjectures = [conjectures[i] for i in places]
    if not conjectures:
        raise EvaluationError(f"the split {split!r} has none of the conjectures that are asked for")
    return conjectures


def _tops(text: str) -> list[int | str]:
    return [ALL if k == ALL else positive_integer({"prove": k}, "prove") for k in text.split(",")]


def _ranker(
    target: Target, library: Library, conjectures: Sequence[Conjecture], method: str, *, whole_library: bool
) -> Ranker:
    if target.baseline is not None:
        if target.baseline not in BASELINES:
            raise EvaluationError(f"there is no baseline {target.baseline!r}; there are: {', '.join(BASELINES)}")
        return BASELINES[target.baseline](library, library.select("train"))
    if whole_library:
        needed = np.arange(len(library.statements))
    else:
        needed = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in conjectures]))
    with open_station(target, "deepmath", ENCODER, models) as station:
        goals = embed(station, "conjecture", [library.statements[c.statement] for c in conjectures])
        embedded = embed(station, "premise", [library.statements[i] for i in needed])
        rank_size = int(station.parameters["rank_size"])
    premises = np.zeros((len(library.statements), embedded.shape[1]), np.float32)
    premises[needed] = embedded
    network = DotRanker({c.statement: goal for c, goal in zip(conjectures, goals, strict=True)}, premises, rank_size)
    return network if method == "network" else MethodRanker(method, library, network)


def embed(station: Station, side: str, statements: Sequence[str]) -> np.ndarray:
    """Statements as written to their embeddings, as "premise" or as "conjecture", [S, D]."""
    name, pack = ("text", text_batch) if "alphabet" in station.parameters else ("words", word_batch)
    order = sorted(range(len(statements)), key=lambda i: len(statements[i]))  # those of a length together
    parts = [
        station.ask({name: pack([statements[i] for i in order[start : start + MAX_BATCH_SIZE]])})
        for start in range(0, len(order), MAX_BATCH_SIZE)
    ]
    return np.concatenate([part[f"{side}_embedding"] for part in parts])[np.argsort(order)]
