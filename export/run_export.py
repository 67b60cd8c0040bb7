"""From a checkpoint to published models: export, parity, the task's metric, what is published, then the repository."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from neurips16.clients import Client
from neurips16.clients.protocol.errors import ClientError
from neurips16.export.errors import EvaluationError, ExportError, ParityError, PublishError, StationError
from neurips16.export.graph.exporter import export_module
from neurips16.export.graph.quantisation import FileModule, quantise
from neurips16.export.incumbent import check_comparable, compare, newest_versions
from neurips16.export.ops import library_path
from neurips16.export.parity.check import ONNX, check_parity
from neurips16.export.parity.report import ParityReport
from neurips16.export.provenance import EXPORT, data_fingerprint, export_facts
from neurips16.export.publish import MODEL_FILE, publish, withdraw
from neurips16.export.registry import ExportedModel, SystemExport, Target, find_export

POLL_S = 0.2  # from one look at a server to the next
INT8 = "int8"
PRECISIONS = ("fp32", "fp16", INT8)


@dataclass(frozen=True)
class ExportSummary:
    """What an export came to; it iterates over the published folders.

    Attributes:
        folders: the published version folders, in the order of the models; none after a dry run.
        reports: of each model, as they stand beside it.
        sizes: of each model's file, in bytes.
    """

    folders: tuple[Path, ...]
    reports: tuple[ParityReport, ...]
    sizes: tuple[int, ...]

    def __iter__(self) -> Iterator[Path]:
        return iter(self.folders)

    def facts(self) -> list[dict[str, Any]]:
        """The same as JSON values, one object for each model."""
        folders = self.folders or (None,) * len(self.reports)
        return [
            {
                "model": report.model,
                "version": int(folder.name) if folder else None,
                "folder": str(folder) if folder else None,
                "bytes": size,
                "differences": {
                    run: {name: found.max_abs for name, found in outputs.items()}
                    for run, outputs in report.runs.items()
                },
                "metrics": report.metrics,
                "data": report.data,
                "incumbent": report.incumbent,
            }
            for folder, report, size in zip(folders, self.reports, self.sizes, strict=True)
        ]


def run_export(
    system_name: str,
    checkpoint: Path | None,
    repository: Path,
    *,
    data: Path | None = None,
    no_data: bool = False,
    replace_better: bool = False,
    url: str | None = None,
    inline: bool = False,
    opset: int | None = None,
    precision: str | None = None,
    dry_run: bool = False,
    progress: Callable[[str], object] = lambda line: None,
) -> ExportSummary:
    """Export every model of a checkpoint, and publish them all or none.

    Args:
        system_name: a system that can be exported.
        checkpoint: of that system; None for a method without training.
        repository: gets the next version of each model.
        data: the data set's folder: the parity check reads real inputs of it, and the task's metric is compared between
            the checkpoint, the exported files and the published versions.
        no_data: publish without, of a system that needs data: no metric is compared.
        replace_better: publish without a comparison with the versions that are published.
        url: a server that loads the new version by itself (it polls, or is told); its answers are checked last, and
            what fails there is taken back.
        inline: see `export_module`.
        opset: of the file; None takes the specification's.
        precision: one of `PRECISIONS`: of the stored weights, or int8, of the arithmetic too (see `quantise`); None
            takes the system's own choice.
        dry_run: do all but publish.
        progress: is told what is done next, in a line.

    Raises:
        ExportError: nothing of this system is exported, or something it needs was not given.
        ParityError: what was exported is not what was trained, or worse than what is published; the text lists every
            difference, and the reports lie beside the checkpoint (the repository, where there is none).
        PublishError: the comparison with what is published cannot be made, or the repository cannot be written.
    """
    system = find_export(system_name)
    if system.models is None:
        raise ExportError(f"nothing of {system_name} is exported: it is evaluated, see `neurips16 evaluate`")
    if system.trained != (checkpoint is not None):
        needs = "comes from a checkpoint: give --checkpoint FILE" if system.trained else "has no training: leave it out"
        raise ExportError(f"{system_name} {needs}")
    if data is not None and no_data:
        raise EvaluationError(f"--data {data} and --no-data contradict each other: leave one out")
    if data is None and system.needs_data and not no_data:
        raise EvaluationError(
            f"{system_name} is compared with its checkpoint by a metric: give --data FOLDER, or say --no-data"
        )
    if dry_run and url is not None:
        raise ExportError(f"--dry-run publishes nothing, so {url} cannot be asked: leave --url out")
    progress(f"reading {checkpoint or system_name}")
    fingerprint = None if data is None else data_fingerprint(data)
    facts = export_facts(checkpoint, fingerprint, precision or "the system's own")
    models = [_as_asked(model, facts, opset, precision) for model in system.models(checkpoint, data)]
    if precision == INT8:
        _check_quantisable(models, data)
    newest = newest_versions(repository, models)
    if not replace_better:
        check_comparable(system, models, newest, data)
    with tempfile.TemporaryDirectory(prefix="neurips16-export-") as folder:
        # Laid out like a repository, since the models of a system are evaluated together.
        files = [Path(folder) / "new" / model.spec.name / "1" / MODEL_FILE for model in models]
        reports = []
        for model, file in zip(models, files, strict=True):
            progress(f"{model.spec.name}: exporting, and comparing with torch on {len(model.cases)} cases")
            report = _export(model, file, inline=inline)
            if precision == INT8:
                progress(f"{model.spec.name}: quantising")
                report = _quantise(model, file, report)
            reports.append(dataclasses.replace(report, data=fingerprint))
        if precision == INT8:  # whoever serves the file is to answer as the file does
            modules = [FileModule(file, model.spec) for model, file in zip(models, files, strict=True)]
            models = [dataclasses.replace(model, module=one) for model, one in zip(models, modules, strict=True)]
        if checkpoint is not None and (data is not None or not system.needs_data):
            progress(f"measuring {system.name}: the checkpoint")
            measure = partial(evaluate_target, system, data=data, split="test", options=system.quick_options)
            before = measure(Target(checkpoint=checkpoint))
            progress(f"measuring {system.name}: the exported files")
            after = measure(Target(model=files[0]))
            for model, report in zip(models, reports, strict=True):
                report.add_metrics(model.spec, "onnx", before, after)
            if newest and not replace_better:
                progress(f"measuring {system.name}: what is published")
                compare(models, reports, repository, newest, measure, after, Path(folder) / "published")
        for report in reports:
            if not report.incumbent:
                number = newest.get(report.model)
                why = "--replace-better was given" if system.trained else "nothing of it is trained"
                why = why if number is not None else "the first version"
                report.incumbent = {"version": number, "compared": False, "why": why}
        beside = repository if checkpoint is None else checkpoint
        _raise_if_failed(reports, beside)
        sizes = tuple(file.stat().st_size for file in files)
        if dry_run:
            return ExportSummary((), tuple(reports), sizes)
        if newest_versions(repository, models) != newest:
            raise PublishError(f"another export has published into {repository} meanwhile: compare again, start again")
        published = _publish_all(models, files, reports, repository)
    if url is not None:
        progress(f"waiting for {url} to load {', '.join(f'{v.parent.name} version {v.name}' for v in published)}")
        reports = _check_served(url, models, published, beside, reports)
    return ExportSummary(tuple(published), tuple(reports), sizes)


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


def _as_asked(
    model: ExportedModel, facts: Mapping[str, Any], opset: int | None, precision: str | None
) -> ExportedModel:
    spec = dataclasses.replace(model.spec, provenance={**model.spec.provenance, EXPORT: facts})
    if opset is not None:
        spec = dataclasses.replace(spec, opset=opset)
    fp16_weights = model.fp16_weights if precision is None else precision == "fp16"
    return dataclasses.replace(model, spec=spec, fp16_weights=fp16_weights)


def _export(model: ExportedModel, file: Path, *, inline: bool) -> ParityReport:
    file.parent.mkdir(parents=True)
    export_module(model.module, model.example_inputs, model.spec, file, inline=inline, fp16_weights=model.fp16_weights)
    library = library_path() if model.spec.custom_ops else None
    return check_parity(model.spec, model.module, file, model.cases, op_library=library)


def _check_quantisable(models: Sequence[ExportedModel], data: Path | None) -> None:
    """Refuse what cannot be calibrated on real inputs, or whose loss nothing would bound.

    Raises:
        ExportError: the text says what lacks.
    """
    if data is None:
        raise EvaluationError("int8 is calibrated and measured on real inputs: give --data FOLDER")
    for model in models:
        if model.calibration is None:
            raise ExportError(f"{model.spec.name} has no calibration inputs: its system is not quantised")
        if not model.spec.metrics:
            raise ExportError(f"{model.spec.name} has no metric that would bound what int8 costs: it is not quantised")


def _quantise(model: ExportedModel, file: Path, full: ParityReport) -> ParityReport:
    """Quantise an exported file in its place.

    Returns:
        The report on it: how far the FP32 file and the quantised one lie from torch (the metric gates the latter, not a
        tolerance), and whether our kernels answer as the file does without them.
    """
    assert model.calibration is not None
    source = file.rename(file.with_name(f"fp32-{file.name}"))
    quantise(source, file, model.spec, model.calibration())
    source.unlink()
    library = library_path() if model.spec.custom_ops else None
    report = check_parity(model.spec, FileModule(file, model.spec), file, model.cases, op_library=library)
    away = check_parity(model.spec, model.module, file, model.cases).runs[ONNX]
    why = f"eight bits: gated by {', '.join(gate.name for gate in model.spec.metrics)}, not by a tolerance"
    runs = {f"fp32 {run}": outputs for run, outputs in full.runs.items()}
    runs[INT8] = {name: dataclasses.replace(one, rtol=0.0, atol=0.0, reason=why) for name, one in away.items()}
    runs |= {f"{INT8} {run}": outputs for run, outputs in report.runs.items() if run != ONNX}
    return dataclasses.replace(report, runs=runs, failures=[*full.failures, *report.failures])


def _publish_all(
    models: Sequence[ExportedModel], files: Sequence[Path], reports: Sequence[ParityReport], repository: Path
) -> list[Path]:
    """Publish all models, or none.

    Raises:
        PublishError: one cannot be published; those before it were taken back, or the text says which were not.
    """
    published: list[Path] = []
    for model, file, report in zip(models, files, reports, strict=True):
        try:
            published.append(publish(file, repository, model.spec, report))
        except PublishError as error:
            raise PublishError("\n".join([str(error), *_take_back(published)])) from error
    return published


def _check_served(
    url: str,
    models: Sequence[ExportedModel],
    published: Sequence[Path],
    beside: Path,
    reports: Sequence[ParityReport],
) -> list[ParityReport]:
    """Ask a server for the new versions; the reports that stand beside them get its answers.

    Raises:
        ExportError: a version was not loaded, or answers otherwise; the versions were taken back, or the text says
            which were not.
    """
    served = []
    try:
        for model, version, report in zip(models, published, reports, strict=True):
            name, number = model.spec.name, version.name
            wait_until_served(url, name, number)
            asked = check_parity(
                model.spec, model.module, version / MODEL_FILE, model.cases, server=(url, name, number)
            )
            runs, failures = {**report.runs, **asked.runs}, [*report.failures, *asked.failures]
            served.append(dataclasses.replace(report, runs=runs, failures=failures))
        _raise_if_failed(served, beside)
    except ExportError as error:
        raise type(error)("\n".join([str(error), *_take_back(published)])) from error
    for version, report in zip(published, served, strict=True):
        report.save(version)
    return served


def _take_back(published: Sequence[Path]) -> list[str]:
    """Take versions out of the repository again; what became of each, for the user."""
    lines = []
    for version in published:
        name = f"{version.parent.name} version {version.name}"
        try:
            withdraw(version)
            lines.append(f"{name} was taken back: {version} is gone, and its number is not given again")
        except PublishError as error:
            lines.append(f"{name} STANDS in {version}: {error}; remove it")
    return lines


def _raise_if_failed(reports: Sequence[ParityReport], beside: Path) -> None:
    """The gate of all models together; each report that does not pass is kept.

    Args:
        reports: of the models of one export.
        beside: the checkpoint, or the repository where there is none; the reports lie beside it.

    Raises:
        ParityError: one has failed.
    """
    texts = []
    for report in reports:
        try:
            report.raise_if_failed()
        except ParityError as error:
            kept = beside.with_name(f"{beside.name}.{report.model}.failed.json")
            texts.append(str(error))
            try:
                kept.write_text(report.to_json() + "\n", encoding="utf-8")
                texts.append(f"{report.model}: the report is in {kept}")
            except OSError as problem:  # the text has what counts
                texts.append(f"{report.model}: the report could not be kept: {problem}")
    if texts:
        raise ParityError("\n".join(texts))
