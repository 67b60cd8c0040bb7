"""The versions of a published model: which there are, which one came before, and which may go.

The newest version is the one that is served, on every host. So going back is going forward: the content of an earlier
version is published again under the next number, in one rename, and no number ever stands for two contents.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurips16.export.errors import PublishError, SpecError
from neurips16.export.parity.report import REPORT_NAME, file_sha256
from neurips16.export.provenance import EXPORT
from neurips16.export.publish import MODEL_FILE, make_version, put, withdraw
from neurips16.export.publish import versions as version_numbers
from neurips16.export.spec import read_spec
from neurips16.export.staging import staging

ORIGIN = "published_again"  # a key of parity.json: the version whose content this is


@dataclass(frozen=True)
class Version:
    """One version of a model.

    Attributes:
        number: the folder's.
        newest: whether it is the newest, which is served.
        origin: the version whose content was published again under this number; its own number else.
        date: of the export, UTC.
        bytes: of the model file.
        sha256: of the model file.
        metrics: the gated metrics of the exported file.
        provenance: what the file says of its origin.
    """

    number: int
    newest: bool
    origin: int
    date: str
    bytes: int
    sha256: str
    metrics: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoint(self) -> str | None:
        """The SHA-256 of the checkpoint that it was exported from, where the file says so."""
        facts = self.provenance.get(EXPORT)
        return facts.get("checkpoint_sha256") if isinstance(facts, dict) else None

    def row(self) -> tuple[str, ...]:
        """Number, date, size, checkpoint and metrics, as a table shows them."""
        number = f"{'*' if self.newest else ''}{self.number}"
        again = f" (version {self.origin})" if self.origin != self.number else ""
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return number, f"{self.date}{again}", str(self.bytes // 1000), (self.checkpoint or "-")[:12], metrics or "-"


def describe(model_dir: Path) -> list[Version]:
    """The versions of a model that have a model file, oldest first.

    Raises:
        PublishError: there is none.
    """
    folders = [model_dir / str(number) for number in version_numbers(model_dir)]
    folders = [folder for folder in folders if (folder / MODEL_FILE).is_file()]
    if not folders:
        raise PublishError(f"{model_dir} has no version with a {MODEL_FILE}: name a model of a repository")
    return [_describe(folder, newest=folder == folders[-1]) for folder in folders]


def rollback_number(model: str, known: Sequence[Version]) -> int:
    """The version that stood before the content that is newest now.

    Raises:
        PublishError: there is none.
    """
    current = known[-1]
    before = [v for v in known if v.number < current.origin and v.sha256 != current.sha256]
    if not before:
        raise PublishError(f"{model} has no version before {current.origin}: there is nothing to go back to")
    return before[-1].number


def check_together(repository: Path, numbers: Mapping[str, int]) -> None:
    """Refuse to publish versions again without the others of their export: together they are one system.

    Raises:
        PublishError: the text names the models that lack.
    """
    for model, number in numbers.items():
        wanted = next((v for v in describe(repository / model) if v.number == number), None)
        if wanted is None or wanted.checkpoint is None:
            continue
        for folder in sorted(repository.iterdir()):
            if folder.name in numbers or folder.name.startswith(".") or not version_numbers(folder):
                continue
            others = [v.number for v in describe(folder) if v.checkpoint == wanted.checkpoint]
            if others and others[-1] != describe(folder)[-1].origin:
                raise PublishError(
                    f"{model} version {number} and {folder.name} version {others[-1]} were exported together: name "
                    f"both models, or change {model} --alone"
                )


def promote(model_dir: Path, number: int) -> Path:
    """Publish the content of a version again, as the newest one.

    Returns:
        The new version's folder.

    Raises:
        PublishError: there is no such version, it is the newest already, or the repository cannot be written.
    """
    known = describe(model_dir)
    chosen = next((v for v in known if v.number == number), None)
    if chosen is None:
        there = ", ".join(str(v.number) for v in known)
        raise PublishError(f"{model_dir.name} has no version {number}; it has {there}")
    if chosen.sha256 == known[-1].sha256:
        raise PublishError(f"version {number} of {model_dir.name} is what is served: version {known[-1].number} is it")
    try:
        with staging(model_dir.parent.absolute()) as folder:
            version_dir = make_version(folder)
            shutil.copytree(model_dir / str(number), version_dir, dirs_exist_ok=True)
            report = {**_read_report(version_dir), ORIGIN: chosen.origin}
            (version_dir / REPORT_NAME).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
            return put(version_dir, model_dir)
    except OSError as error:
        raise PublishError(f"cannot publish version {number} of {model_dir.name} again: {error}") from error


def prune(model_dir: Path, keep: int) -> list[int]:
    """Remove all versions but the newest ``keep``.

    Returns:
        The numbers that are gone.

    Raises:
        PublishError: there is no version, or the repository cannot be written.
    """
    gone = [version.number for version in describe(model_dir)[:-keep]]
    for number in gone:
        withdraw(model_dir / str(number))
    return gone


def _describe(folder: Path, *, newest: bool) -> Version:
    report, path = _read_report(folder), folder / MODEL_FILE
    try:
        provenance = read_spec(path).provenance
    except SpecError:  # a model that was not exported here may stand among the versions
        provenance = {}
    number, metrics = int(folder.name), report.get("metrics")
    gated = metrics.get("onnx", {}) if isinstance(metrics, dict) else {}
    return Version(
        number=number,
        newest=newest,
        origin=int(report.get(ORIGIN, number)),
        date=str(report.get("date", "-")),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        metrics={name: values["onnx"] for name, values in gated.items() if values.get("onnx") is not None},
        provenance=provenance,
    )


def _read_report(folder: Path) -> dict[str, Any]:
    """The report beside a model; nothing where there is none that can be read."""
    try:
        found = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
