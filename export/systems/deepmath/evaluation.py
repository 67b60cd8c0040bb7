"""DeepMath's metrics: pair accuracy, AMRR, recall, and conjectures that E proves from the best k."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neurips16.clients.tasks.rank_premises.calls import CONJECTURE_ENCODER, PREMISE_ENCODER, RANKER
from neurips16.clients.tasks.rank_premises.prover import prove
from neurips16.export.errors import EvaluationError
from neurips16.export.options import positive_integer, spread
from neurips16.export.registry import Target
from neurips16.export.station import open_station
from neurips16.export.systems.deepmath.models import MAX_BATCH_SIZE, models, text_batch
from neurips16.training.data.deepmath.reader import Conjecture, Library, normalise, read_library
from neurips16.training.metrics.premise_ranking import Ranker, SplitRanker, pair_accuracy, ranking_metrics
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
    tops = [positive_integer({"prove": k}, "prove") for k in options["prove"].split(",")] if "prove" in options else []
    ranking = options.get("ranking", "yes") != "no"
    if (ranking or tops) and not library.ordered:
        _log.warning("%s has no mizar40/statements(.used): amrr, recall and proofs need the library order", data)
        ranking, tops = False, []
    ranker = _ranker(target, library, conjectures, whole_library=ranking or bool(tops))
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
    if "sample" in options:
        conjectures = [conjectures[i] for i in spread(len(conjectures), positive_integer(options, "sample"))]
    if not conjectures:
        raise EvaluationError(f"the split {split!r} has none of the conjectures that are asked for")
    return conjectures


def _ranker(target: Target, library: Library, conjectures: Sequence[Conjecture], *, whole_library: bool) -> Ranker:
    if target.baseline is not None:
        if target.baseline not in BASELINES:
            raise EvaluationError(f"there is no baseline {target.baseline!r}; there are: {', '.join(BASELINES)}")
        return BASELINES[target.baseline](library, library.select("train"))
    if whole_library:
        needed = np.arange(len(library.statements))
    else:
        needed = np.unique(np.concatenate([np.concatenate([c.useful, c.useless]) for c in conjectures]))
    with contextlib.ExitStack() as stack:
        encoders = _Encoders(stack, target)
        goals = encoders.encode(CONJECTURE_ENCODER, [library.statements[c.statement] for c in conjectures])
        encoded = encoders.encode(PREMISE_ENCODER, [library.statements[i] for i in needed])
    premises = np.zeros((len(library.statements), encoded.shape[1]), np.float32)
    premises[needed] = encoded
    return SplitRanker(
        {c.statement: goal for c, goal in zip(conjectures, goals, strict=True)}, premises, encoders.output_weights
    )


class _Encoders:
    """The two encoders and the ranker of a target. A checkpoint's are asked directly: not all can be exported."""

    def __init__(self, stack: contextlib.ExitStack, target: Target) -> None:
        self._network: DeepMath | None = None
        if target.checkpoint is not None:
            network = load_module(target.checkpoint, "deepmath")
            assert isinstance(network, DeepMath)
            self._network, output = network, network.scorer.output
            self.output_weights = np.append(output.weight.detach().numpy()[0], output.bias.detach().numpy())
            return
        self._models = {
            name: stack.enter_context(open_station(target, "deepmath", name, models))
            for name in (CONJECTURE_ENCODER, PREMISE_ENCODER, RANKER)
        }
        builds = {name: model.parameters["build"] for name, model in self._models.items()}
        if len(set(builds.values())) > 1:
            raise EvaluationError(f"the models of this target are of different training runs: {builds}")
        ranker = self._models[RANKER]
        size = int(ranker.parameters["embedding_size"])
        nothing = {"conjecture": np.zeros((1, size), np.float32), "premises": np.zeros((1, 1, size), np.float32)}
        self.output_weights = ranker.ask(nothing)["output_weights"][0]

    def encode(self, model: str, statements: Sequence[str]) -> np.ndarray:
        """Statements to their encodings by the model so called, [S, D]."""
        if self._network is not None:
            return self._network.encode_texts(statements, getattr(self._network, model)).numpy()
        texts = [normalise(statement) for statement in statements]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # those of a length together
        parts = [
            self._models[model].ask({"text": text_batch([texts[i] for i in order[start : start + MAX_BATCH_SIZE]])})
            for start in range(0, len(order), MAX_BATCH_SIZE)
        ]
        return np.concatenate([part["embedding"] for part in parts])[np.argsort(order)]


def _proved(library: Library, conjectures: Sequence[Conjecture], ranker: Ranker, k: int, timeout_s: float) -> float:
    """The share of the conjectures that E proves from the k best statements before each (DeepMath's main metric)."""
    proved = 0
    for conjecture in conjectures:
        scores = ranker.scores(conjecture, np.arange(conjecture.statement))
        best = np.argsort(-scores, kind="stable")[:k]
        premises = [library.statements[i] for i in best]
        proved += prove(library.statements[conjecture.statement], premises, timeout_s=timeout_s).proved
    return proved / len(conjectures)
