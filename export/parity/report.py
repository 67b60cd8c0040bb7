"""What a parity check found: kept beside the model as ``parity.json``, and read before the model is published."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neurips16.export.errors import ParityError
from neurips16.export.spec import MetricGate, ModelSpec

REPORT_NAME = "parity.json"
PACKAGES = ("neurips16", "torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Failure:
    """One thing that is wrong."""

    where: str  # file, cases, torch, onnx, kernels, server or incumbent
    text: str
    case: int | None = None  # which of the cases, where it is about one

    def __str__(self) -> str:
        case = "" if self.case is None else f", case {self.case}"
        return f"{self.where}{case}: {self.text}"


@dataclass(frozen=True)
class OutputReport:
    """How far one output lay from torch's, at its worst over all cases."""

    rtol: float
    atol: float
    reason: str
    max_abs: float = 0.0
    max_abs_at: tuple[int, ...] = ()
    max_rel: float = 0.0
    compared: int = 0  # values, over all cases

    def worst(self, other: OutputReport | None) -> OutputReport:
        """The worse of two cases."""
        if other is None:
            return self
        far = self if self.max_abs >= other.max_abs else other
        return dataclasses.replace(
            far, max_rel=max(self.max_rel, other.max_rel), compared=self.compared + other.compared
        )


@dataclass
class ParityReport:
    """The outcome of `check_parity`, and of the metric gates where they were tried."""

    model: str
    sha256: str  # of the model's file: a report speaks for one file only
    date: str  # UTC
    versions: dict[str, str]
    cases: list[Any] = field(default_factory=list)  # the inputs' shapes, of each step where a case has several
    runs: dict[str, dict[str, OutputReport]] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, Any] | None = None  # the fingerprint of the data set; None: --no-data, or a system without any
    incumbent: dict[str, Any] = field(default_factory=dict)  # what the version before was, and how it compares
    failures: list[Failure] = field(default_factory=list)

    @classmethod
    def of(cls, spec: ModelSpec, model_path: Path) -> ParityReport:
        """An empty report on the file ``model_path``."""
        return cls(
            model=spec.name,
            sha256=file_sha256(model_path),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            versions={name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        )

    @property
    def passed(self) -> bool:
        """True when nothing is wrong and something was compared."""
        return not self.failures and any(self.runs.values())

    def raise_if_failed(self) -> None:
        """The gate.

        Raises:
            ParityError: with everything that is wrong, one line each.
        """
        if self.failures:
            count = "1 difference" if len(self.failures) == 1 else f"{len(self.failures)} differences"
            lines = [f"  - {failure}" for failure in self.failures]
            raise ParityError("\n".join([f"{self.model}: {count}; the model is not fit to be published:", *lines]))
        if not self.passed:
            raise ParityError(f"{self.model}: nothing was compared, so nothing is known: give check_parity cases")

    def add_metrics(
        self, spec: ModelSpec, where: str, reference: Mapping[str, float], got: Mapping[str, float]
    ) -> None:
        """Record the task's own metrics of ``where`` ("onnx") and hold them against the gates of ``spec``."""
        self.metrics[where] = _side_by_side(spec.metrics, "torch", reference, where, got)
        self.failures += check_metrics(spec, reference, got, where=where)

    def add_incumbent(
        self, spec: ModelSpec, version: int, sha256: str, reference: Mapping[str, float], got: Mapping[str, float]
    ) -> None:
        """Record the metrics of the published version that this model is to replace, and hold this one against them."""
        metrics = _side_by_side(spec.metrics, "incumbent", reference, "onnx", got)
        self.incumbent = {"version": version, "sha256": sha256, "compared": True, "metrics": metrics}
        self.failures += check_metrics(
            spec, reference, got, where="incumbent", before=f"the published version {version}"
        )

    def to_json(self) -> str:
        """The report as JSON; an infinity is written as the string "inf"."""
        return json.dumps(_finite({"passed": self.passed, **dataclasses.asdict(self)}), indent=2, ensure_ascii=False)

    def save(self, folder: str | Path) -> Path:
        """Write ``parity.json`` into ``folder`` (the model's) and return its path."""
        path = Path(folder) / REPORT_NAME
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        return path


def check_metrics(
    spec: ModelSpec,
    reference: Mapping[str, float],
    candidate: Mapping[str, float],
    *,
    where: str = "metrics",
    before: str = "torch",
) -> list[Failure]:
    """The metric gates of ``spec`` that ``candidate`` (an exported or served model) does not pass.

    Args:
        spec: names the metrics, and how much of each may be lost.
        reference: the metrics of the checkpoint, or of the version that is published.
        candidate: the same metrics of the exported or the served model.
        where: what to call the comparison.
        before: what to call the reference.
    """
    failures = []
    for gate in spec.metrics:
        if gate.name not in reference or gate.name not in candidate:
            lacking = before if gate.name not in reference else where
            failures.append(Failure(where, f"metric {gate.name!r} was not measured ({lacking} lacks it)"))
            continue
        old, new = reference[gate.name], candidate[gate.name]
        loss = new - old if gate.lower_is_better else old - new
        if not loss <= gate.allowed_loss:  # so written that a NaN fails
            failures.append(
                Failure(
                    where,
                    f"metric {gate.name!r} is {new:.6g}, {before} has {old:.6g}: a loss of {loss:.3g}, "
                    f"allowed is {gate.allowed_loss:g} ({gate.reason})",
                )
            )
    return failures


def _side_by_side(
    gates: Sequence[MetricGate], before: str, reference: Mapping[str, float], after: str, got: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    return {
        gate.name: {
            before: reference.get(gate.name),
            after: got.get(gate.name),
            "allowed_loss": gate.allowed_loss,
            "lower_is_better": gate.lower_is_better,
        }
        for gate in gates
    }


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
