"""The published versions that an export would replace: none gives way to a worse one unless that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from neurips16.export.errors import ExportError, PublishError
from neurips16.export.parity.report import ParityReport, file_sha256
from neurips16.export.publish import MODEL_FILE, versions
from neurips16.export.registry import ExportedModel, SystemExport, Target

REMEDY = "--replace-better publishes it all the same"


def newest_versions(repository: Path, models: Sequence[ExportedModel]) -> dict[str, int]:
    """The newest published version of each model that has one with a model file."""
    found = {}
    for model in models:
        folder = repository / model.spec.name
        numbers = [number for number in versions(folder) if (folder / str(number) / MODEL_FILE).is_file()]
        if numbers:
            found[model.spec.name] = max(numbers)
    return found


def check_comparable(
    system: SystemExport, models: Sequence[ExportedModel], newest: Mapping[str, int], data: Path | None
) -> None:
    """Refuse an export that nothing could hold against what it replaces, before any work is done.

    A method without training has nothing that could get worse: parity with the library is all there is to compare.

    Raises:
        PublishError: there are published versions, and no data, no metric, or not of all the models of the system.
    """
    if not newest or not system.trained:
        return
    names = [model.spec.name for model in models]
    published = ", ".join(f"{name} version {number}" for name, number in newest.items())
    if lacking := [name for name in names if name not in newest]:
        raise PublishError(
            f"{published} cannot be compared with this export: the models of {system.name} are measured together, and "
            f"{', '.join(lacking)} is not published; {REMEDY}"
        )
    if not any(model.spec.metrics for model in models):
        raise PublishError(
            f"{published} cannot be compared with this export: no metric of {system.name} is gated; {REMEDY}"
        )
    if data is None and system.needs_data:
        raise PublishError(
            f"{published} cannot be compared with this export without data: give --data FOLDER; {REMEDY}"
        )


def compare(
    models: Sequence[ExportedModel],
    reports: Sequence[ParityReport],
    repository: Path,
    newest: Mapping[str, int],
    measure: Callable[[Target], Mapping[str, float]],
    got: Mapping[str, float],
    folder: Path,
) -> None:
    """Measure the published versions on the same data, and hold this export's metrics against theirs in the reports.

    Args:
        models: of this export.
        reports: of the models; they get what was compared, and a failure for each loss beyond a gate.
        repository: where the published versions are.
        newest: their numbers, as `newest_versions` gives them.
        measure: gives the metrics of a target, on the same data as this export's.
        got: the metrics of this export.
        folder: an empty one, in which the published models are laid side by side.

    Raises:
        PublishError: the published versions cannot be measured.
    """
    for name, number in newest.items():  # links, since the models of a system may have come to different numbers
        (folder / name).mkdir(parents=True)
        os.symlink((repository / name / str(number)).absolute(), folder / name / "1", target_is_directory=True)
    target = Target(model=folder / models[0].spec.name / "1" / MODEL_FILE)
    try:
        before = measure(target)
    except ExportError as error:
        published = ", ".join(f"{name} version {number}" for name, number in newest.items())
        raise PublishError(f"{published} cannot be measured, so not compared: {error}; {REMEDY}") from error
    for model, report in zip(models, reports, strict=True):
        number = newest[model.spec.name]
        sha256 = file_sha256(repository / model.spec.name / str(number) / MODEL_FILE)
        report.add_incumbent(model.spec, number, sha256, before, got)
