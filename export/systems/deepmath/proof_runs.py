"""Which conjectures E proves from the premises that are ranked best: the paper's main measure.

It takes hours, so every run goes into a log, and a run that the log holds is not made again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurips16.clients.tasks.rank_premises.prover import prove
from neurips16.clients.tasks.rank_premises.statements import Statement
from neurips16.export.errors import EvaluationError
from neurips16.training.data.deepmath.reader import Conjecture, Library, split_statement
from neurips16.training.metrics.premise_ranking import Ranker

ALL = "all"
SINE = "--sine=Auto"  # E's own selection of axioms
WALL_FACTOR = 30  # E counts the processor's time, so that a busy machine costs no proof; this only ends what hangs


class ProofRuns:
    """Runs of E, those of a log included.

    Args:
        library: the statements.
        ranker: orders those before a conjecture.
        timeout_s: of a processor, for each conjecture and number of premises.
        log: where the runs are kept, one a line; a log belongs to one ranker.

    Raises:
        EvaluationError: the log is of something else.
    """

    def __init__(self, library: Library, ranker: Ranker, timeout_s: float, log: Path | None = None):
        self._ranker, self._timeout_s, self._log = ranker, timeout_s, log
        # The data set's reader has split its lines already: the parser of TPTP, which takes a millisecond for each,
        # would be most of the time where E selects among all statements.
        self._statements = [
            Statement(line, place, f"statement {place}", name, split_statement(line)[1].strip())
            for place, (name, line) in enumerate(zip(library.names, library.statements, strict=True))
        ]
        self._done: dict[tuple[str, str], bool] = {}
        if log is not None and log.exists():
            for number, line in enumerate(log.read_text(encoding="utf-8").splitlines(), start=1):
                try:
                    run = json.loads(line)
                    if run["timeout_s"] == timeout_s:
                        self._done[run["conjecture"], str(run["k"])] = bool(run["proved"])
                except (ValueError, KeyError, TypeError) as error:
                    raise EvaluationError(f"--log {log}: line {number} is no run of E: {line[:60]!r}") from error

    def proved(self, conjectures: Sequence[Conjecture], tops: Sequence[int | str]) -> dict[str, float]:
        """``proved_at_K`` for each K, the share of the conjectures that is proved."""
        counts = dict.fromkeys(tops, 0)
        for conjecture in conjectures:
            missing = [k for k in tops if (conjecture.name, str(k)) not in self._done]
            if missing:
                self._run(conjecture, missing)
            for k in tops:
                counts[k] += self._done[conjecture.name, str(k)]
        return {f"proved_at_{k}": count / len(conjectures) for k, count in counts.items()}

    def _run(self, conjecture: Conjecture, tops: Sequence[int | str]) -> None:
        statements = self._statements
        order = np.arange(conjecture.statement)
        if any(k != ALL for k in tops):
            order = np.argsort(-self._ranker.scores(conjecture, order), kind="stable")
        for k in tops:
            premises = [statements[i] for i in (order if k == ALL else order[: int(k)])]
            options = [SINE] if k == ALL else []
            result = prove(
                statements[conjecture.statement],
                premises,
                timeout_s=WALL_FACTOR * self._timeout_s,
                cpu_s=self._timeout_s,
                options=options,
            )
            self._done[conjecture.name, str(k)] = result.proved
            self._keep(
                conjecture=conjecture.name,
                k=k,
                timeout_s=self._timeout_s,
                proved=result.proved,
                status=result.status,
                seconds=round(result.seconds, 3),
                premises=list(result.used),
            )

    def _keep(self, **run: Any) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")
