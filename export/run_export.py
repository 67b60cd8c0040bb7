"""From a checkpoint to published models: export, parity, the task's metric, and only then the repository."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurips16.clients import Client
from neurips16.clients.protocol.errors import ClientError
from neurips16.export.errors import EvaluationError, ExportError, StationError
from neurips16.export.graph.exporter import export_module
from neurips16.export.ops import library_path
from neurips16.export.parity.check import check_parity
from neurips16.export.parity.report import ParityReport
from neurips16.export.publish import MODEL_FILE, publish
from neurips16.export.registry import ExportedModel, SystemExport, Target, find_export

POLL_S = 0.2  # from one look at a server to the next


def run_export(
    system_name: str,
    checkpoint: Path | None,
    repository: Path,
    *,
    data: Path | None = None,
    url: str | None = None,
    inline: bool = False,
) -> list[Path]:
    """Export every model of a checkpoint, and publish them all or none.

    Args:
        system_name: a system that can be exported.
        checkpoint: of that system; None for a method without training.
        repository: gets the next version of each model.
        data: the data set's folder; with it the parity check reads real inputs and the task's metric is compared
            between the checkpoint and the exported files.
        url: a server that loads the new version by itself (it polls, or is told); its answers are checked last.
        inline: see `export_module`.

    Returns:
        The published version folders.

    Raises:
        ExportError: nothing of this system is exported; or it needs a checkpoint and none is given, or has none.
        ParityError: what was exported is not what was trained; the text lists every difference.
    """
    system = find_export(system_name)
    if system.models is None:
        raise ExportError(f"nothing of {system_name} is exported: it is evaluated, see `neurips16 evaluate`")
    if system.trained != (checkpoint is not None):
        needs = "comes from a checkpoint: give --checkpoint FILE" if system.trained else "has no training: leave it out"
        raise ExportError(f"{system_name} {needs}")
    models = list(system.models(checkpoint, data))
    with tempfile.TemporaryDirectory(prefix="neurips16-export-") as folder:
        # Laid out like a repository, since the models of a system are evaluated together.
        files = [Path(folder) / model.spec.name / "1" / MODEL_FILE for model in models]
        reports = [_export(model, file, inline=inline) for model, file in zip(models, files, strict=True)]
        if checkpoint is not None and (data is not None or not system.needs_data):
            _compare_metrics(system, checkpoint, files[0], data, models, reports)
        for report in reports:
            report.raise_if_failed()
        published = [publish(f, repository, m.spec, r) for m, f, r in zip(models, files, reports, strict=True)]
    if url is not None:
        for model, version in zip(models, published, strict=True):
            name, number = model.spec.name, version.name
            wait_until_served(url, name, number)
            served = check_parity(
                model.spec, model.module, version / MODEL_FILE, model.cases, server=(url, name, number)
            )
            served.raise_if_failed()
            served.save(version)
    return published


def wait_until_served(url: str, model: str, version: str, *, patience_s: float = 60.0) -> None:
    """Wait until a server has loaded a version of a model.

    Raises:
        StationError: it has not in time, or no server answers.
    """
    deadline = time.monotonic() + patience_s
    with Client(url) as client:
        while True:
            try:
                found = [status for status in client.models() if (status.name, status.version) == (model, version)]
            except ClientError as error:
                raise StationError(f"the server at {url} did not answer: {error}") from error
            if any(status.ready for status in found):
                return
            if time.monotonic() > deadline:
                reason = next((status.reason for status in found if status.reason), "it was not asked to load it")
                raise StationError(
                    f"the server at {url} has not loaded version {version} of {model!r} in {patience_s:g} s: {reason}"
                )
            time.sleep(POLL_S)


def evaluate_target(
    system: SystemExport, target: Target, data: Path | None, split: str, options: Mapping[str, str]
) -> Mapping[str, float]:
    """The metrics of a system for a target.

    Raises:
        EvaluationError: the system has no metrics, or needs a data set and none is given.
    """
    if system.evaluate is None:
        raise EvaluationError(f"{system.name} has no metric of its own: there is nothing to measure")
    if data is None and system.needs_data:
        raise EvaluationError(f"{system.name} is measured on a data set: give --data FOLDER")
    return system.evaluate(target, data, split, options)


def _export(model: ExportedModel, file: Path, *, inline: bool) -> ParityReport:
    file.parent.mkdir(parents=True)
    export_module(model.module, model.example_inputs, model.spec, file, inline=inline, fp16_weights=model.fp16_weights)
    library = library_path() if model.spec.custom_ops else None
    return check_parity(model.spec, model.module, file, model.cases, op_library=library)


def _compare_metrics(
    system: SystemExport,
    checkpoint: Path,
    model: Path,
    data: Path | None,
    models: Sequence[ExportedModel],
    reports: Sequence[ParityReport],
) -> None:
    quick = system.quick_options
    before = evaluate_target(system, Target(checkpoint=checkpoint), data, "test", quick)
    after = evaluate_target(system, Target(model=model), data, "test", quick)
    for exported, report in zip(models, reports, strict=True):
        report.add_metrics(exported.spec, "onnx", before, after)
