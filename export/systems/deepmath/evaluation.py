"""DeepMath's metrics at every station: pair accuracy, AMRR, recall, and conjectures that E proves from the best k."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from neurips16.clients import Client
from neurips16.clients.tasks.rank_premises.embedding import embed
from neurips16.clients.tasks.rank_premises.premise_models import ENCODER, RANKER, premise_models
from neurips16.clients.tasks.rank_premises.prover import prove
from neurips16.clients.tasks.rank_premises.statements import parse_all
from neurips16.export.errors import EvaluationError
from neurips16.export.registry import Station
from neurips16.export.session import make_session
from neurips16.export.spec import read_spec
from neurips16.export.systems.deepmath.inputs import text_batch, word_batch
from neurips16.training.data.deepmath.reader import Conjecture, Library, read_library
from neurips16.training.metrics.premise_ranking import DotRanker, Ranker, pair_accuracy, ranking_metrics
from neurips16.training.system import load_module
from neurips16.training.systems.deepmath.baselines import BASELINES
from neurips16.training.systems.deepmath.network import DeepMath

OPTIONS = {
    "sample": "measure on so many conjectures of the split, evenly spaced, instead of all",
    "ranking": "no: leave out amrr and recall, which need an encoding of the whole library",
    "prove": "K,K,…: also run E on the K best premises of each conjecture",
    "names": "a file with conjecture names, one a line: measure on those only (such as M2k_list)",
    "timeout-s": "seconds that E has for each conjecture and K (default 5)",
}
_STATEMENTS_PER_RUN = 64
_log = logging.getLogger(__name__)
Embed = Callable[[str, Sequence[str]], np.ndarray]  # "conjecture" or "premise", statements -> [S, D]


def evaluate(station: Station, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """Measure a station on a data set in its public layout.

    Args:
        station: a checkpoint, an exported encoder or ranker within its repository, a server, or a baseline.
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
    tops = [_whole(k, "prove") for k in options["prove"].split(",")] if "prove" in options else []
    ranking = options.get("ranking", "yes") != "no"
    if (ranking or tops) and not library.ordered:
        _log.warning("%s has no mizar40/statements(.used): amrr, recall and proofs need the library order", data)
        ranking, tops = False, []
    ranker = _ranker(station, library, conjectures, whole_library=ranking or bool(tops))
    metrics: dict[str, float] = {
        "conjectures": len(conjectures),
        "pairs": sum(len(c.useful) + len(c.useless) for c in conjectures),
        "pair_accuracy": pair_accuracy(conjectures, ranker),
    }
    if ranking:
        metrics |= ranking_metrics(library, conjectures, ranker)
    for k in tops:
        metrics[f"proved_at_{k}"] = _proved(library, conjectures, ranker, k, float(options.get("timeout-s", "5")))
    return metrics


def _chosen(library: Library, split: str, options: Mapping[str, str]) -> list[Conjecture]:
    conjectures = library.select(split)
    if "names" in options:
        try:
            names = set(Path(options["names"]).read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise EvaluationError(f"--names {options['names']}: cannot be read as text: {error}") from error
        conjectures = [c for c in conjectures if c.name in names]
    if "sample" in options and (size := _whole(options["sample"], "sample")) < len(conjectures):
        conjectures = [conjectures[i] for i in np.linspace(0, len(conjectures) - 1, size).round().astype(int)]
    if not conjectures:
        raise EvaluationError(f"the split {split!r} has none of the conjectures that are asked for")
    return conjectures


def _whole(text: str, option: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise EvaluationError(f"--{option}: expected a number over 0, got {text!r}")
    return int(text)


def _ranker(station: Station, library: Library, conjectures: Sequence[Conjecture], *, whole_library: bool) -> Ranker:
    if station.baseline is not None:
        if station.baseline not in BASELINES:
            raise EvaluationError(f"there is no baseline {station.baseline!r}; there are: {', '.join(BASELINES)}")
        return BASELINES[station.baseline](library, library.select("train"))
    if whole_library:
        needed = np.arange(len(library.statements))
    else:
        needed = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in conjectures]))
    embedded_as, rank_size = _embedder(station)
    goals = embedded_as("conjecture", [library.statements[c.statement] for c in conjectures])
    embedded = embedded_as("premise", [library.statements[i] for i in needed])
    premises = np.zeros((len(library.statements), embedded.shape[1]), np.float32)
    premises[needed] = embedded
    return DotRanker({c.statement: goal for c, goal in zip(conjectures, goals, strict=True)}, premises, rank_size)


def _embedder(station: Station) -> tuple[Embed, int]:
    """How the station embeds statements, and how many numbers of an embedding rank."""
    if station.checkpoint is not None:
        network = load_module(station.checkpoint, "deepmath")
        assert isinstance(network, DeepMath)
        return lambda side, statements: network.embed_texts(side, statements).numpy(), network.towers.rank_size
    if station.model is not None:
        return _of_repository(station.model)
    client = Client(station.url)
    models = client.run(premise_models())
    return lambda side, statements: client.run(embed(models, side, parse_all(statements))), models.rank_size


def _of_repository(path: Path) -> tuple[Embed, int]:
    """From either of the two files REPOSITORY/MODEL/VERSION/model.onnx: the other lies beside it."""
    repository, version = path.absolute().parents[2], path.absolute().parent.name
    files = {name: repository / name / version / path.name for name in (ENCODER, RANKER)}
    if missing := [str(file) for file in files.values() if not file.is_file()]:
        raise EvaluationError(f"deepmath is two models, and {', '.join(missing)} is not there: export them together")
    specs = {name: read_spec(file) for name, file in files.items()}
    builds = {name: spec.parameters["build"] for name, spec in specs.items()}
    if len(set(builds.values())) > 1:
        raise EvaluationError(f"the models of {repository} are of different training runs: {builds}")
    session = make_session(files[ENCODER], intra_op_threads=0)
    name = specs[ENCODER].inputs[0].name
    pack = text_batch if name == "text" else word_batch

    def exported(side: str, statements: Sequence[str]) -> np.ndarray:
        order = sorted(range(len(statements)), key=lambda i: len(statements[i]))
        parts = []
        for start in range(0, len(order), _STATEMENTS_PER_RUN):
            batch = pack([statements[i] for i in order[start : start + _STATEMENTS_PER_RUN]])
            parts.append(session.run([f"{side}_embedding"], {name: batch})[0])
        return np.concatenate(parts)[np.argsort(order)]

    return exported, int(specs[ENCODER].parameters["rank_size"])


def _proved(library: Library, conjectures: Sequence[Conjecture], ranker: Ranker, k: int, timeout_s: float) -> float:
    """The share of the conjectures that E proves from the k best statements before each (DeepMath's main metric)."""
    proved = 0
    for conjecture in conjectures:
        scores = ranker.scores(conjecture, np.arange(conjecture.statement))
        best = np.argsort(-scores, kind="stable")[:k]
        premises = [library.statements[i] for i in best]
        proved += prove(library.statements[conjecture.statement], premises, timeout_s=timeout_s).proved
    return proved / len(conjectures)
