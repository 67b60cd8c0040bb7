"""What is published, and what is not: against the checkpoint, against what is published, against a server."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from neurips16.export import run_export as run_export_module
from neurips16.export.command import export
from neurips16.export.errors import EvaluationError, ExportError, ParityError, PublishError, StationError
from neurips16.export.graph.exporter import call_by_name
from neurips16.export.registry import ExportedModel, SystemExport, Target
from neurips16.export.run_export import run_export
from neurips16.export.session import make_session
from neurips16.export.spec import MetricGate, read_spec
from neurips16.export.station import ServerStation, open_station

OUTPUTS = ("embedding", "count", "density")
GATE = MetricGate("error", 0.01, "rounding", lower_is_better=True)


@pytest.fixture
def system(tiny, monkeypatch) -> SystemExport:
    """A system whose checkpoint is the number of its error; its models carry it on."""

    def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
        spec = tiny.spec.__class__(
            **{**vars(tiny.spec), "metrics": (GATE,), "parameters": {"error": checkpoint.read_text()}}
        )
        return [ExportedModel(spec, tiny.module, tiny.example, tiny.cases, calibration=lambda: tiny.cases)]

    def evaluate(target: Target, data, split, options) -> dict[str, float]:
        if target.checkpoint is not None:
            return {"error": float(target.checkpoint.read_text())}
        return {"error": float(read_spec(target.model).parameters["error"])}

    system = SystemExport("tiny", evaluate, models)
    monkeypatch.setattr(run_export_module, "find_export", lambda name: system)
    return system


@pytest.fixture
def put(tmp_path, system):
    """Export a checkpoint of a given error."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").write_text("1 2 3")

    def run(error: str, **options: object):
        (tmp_path / "run.ckpt").write_text(error)
        words = {"data": tmp_path / "data", **options}
        return run_export("tiny", tmp_path / "run.ckpt", tmp_path / "models", **words)

    return run


def report_of(tmp_path: Path, number: int) -> dict:
    return json.loads((tmp_path / f"models/tiny_encoder/{number}/parity.json").read_text())


def test_a_worse_model_does_not_replace_a_better_one(put, tmp_path) -> None:
    put("0.0645")
    assert report_of(tmp_path, 1)["incumbent"] == {"version": None, "compared": False, "why": "the first version"}
    with pytest.raises(ParityError, match=r"'error' is 0.897, the published version 1 has 0.0645: a loss of 0.8"):
        put("0.897")
    assert [p.name for p in (tmp_path / "models/tiny_encoder").iterdir()] == ["1"]
    kept = json.loads((tmp_path / "run.ckpt.tiny_encoder.failed.json").read_text())
    assert not kept["passed"]
    assert kept["incumbent"]["metrics"]["error"]["onnx"] == 0.897

    put("0.897", replace_better=True)
    assert report_of(tmp_path, 2)["incumbent"] == {"version": 1, "compared": False, "why": "--replace-better was given"}


def test_what_is_as_good_within_the_allowed_loss_is_published_and_says_what_was_compared(put, tmp_path) -> None:
    put("0.0645")
    put("0.07")
    report = report_of(tmp_path, 2)
    assert report["incumbent"]["version"] == 1
    assert report["incumbent"]["sha256"] == report_of(tmp_path, 1)["sha256"]
    assert report["incumbent"]["metrics"]["error"] == {
        "incumbent": 0.0645,
        "onnx": 0.07,
        "allowed_loss": 0.01,
        "lower_is_better": True,
    }
    assert report["data"]["files"] == 1
    assert len(report["data"]["sha256"]) == 64


def test_the_absence_of_data_is_an_explicit_word(put, tmp_path) -> None:
    with pytest.raises(EvaluationError, match="give --data FOLDER, or say --no-data"):
        put("0.1", data=None)
    with pytest.raises(EvaluationError, match="contradict"):
        put("0.1", no_data=True)
    put("0.1", data=None, no_data=True)
    assert report_of(tmp_path, 1)["metrics"] == {}
    with pytest.raises(PublishError, match=r"version 1 cannot be compared .* without data.*--replace-better"):
        put("0.1", data=None, no_data=True)
    put("0.1", data=None, no_data=True, replace_better=True)


def test_what_is_published_and_cannot_be_measured_is_not_replaced_unasked(put, tmp_path, system, monkeypatch) -> None:
    put("0.1")
    path = tmp_path / "models/tiny_encoder/1/model.onnx"
    path.write_bytes(b"")
    with pytest.raises((PublishError), match=r"tiny_encoder version 1 cannot be measured.*--replace-better"):
        put("0.1")


def test_a_dry_run_publishes_nothing_and_tells_all(put, tmp_path) -> None:
    lines: list[str] = []
    summary = put("0.1", dry_run=True, progress=lines.append)
    assert not (tmp_path / "models").exists()
    assert list(summary) == []
    (facts,) = summary.facts()
    assert facts["version"] is None
    assert facts["metrics"]["onnx"]["error"]["onnx"] == 0.1
    assert facts["differences"]["onnx"]["count"] == 0
    assert facts["bytes"] > 0
    assert any("exported files" in line for line in lines)


def test_provenance_is_inside_the_file(put, tmp_path) -> None:
    (folder,) = put("0.1", opset=21, precision="fp16")
    path = folder / "model.onnx"
    facts = read_spec(path).provenance["export"]
    assert facts["checkpoint"] == "run.ckpt"
    assert len(facts["checkpoint_sha256"]) == 64
    assert facts["data"] == report_of(tmp_path, 1)["data"]
    assert {"torch", "onnxruntime", "python"} <= set(facts["versions"])
    assert facts["commit"]
    assert facts["precision"] == "fp16"
    assert {entry.version for entry in onnx.load(path).opset_import if not entry.domain} == {21}


def test_eight_bits_are_compared_with_torch_and_gated_by_the_metric(put, tmp_path, system, tiny) -> None:
    (folder,) = put("0.1", precision="int8")
    path = folder / "model.onnx"
    weights = {weight.name: weight.data_type for weight in onnx.load(path).graph.initializer}
    assert TensorProto.INT8 in weights.values()
    assert read_spec(path).provenance["stored_weights"] == "INT8"
    assert read_spec(path).provenance["export"]["precision"] == "int8"
    text = tiny.cases[0]["text"]
    whole = call_by_name(tiny.module, {"text": torch.tensor(text)}, OUTPUTS)["embedding"].detach().numpy()
    (quantised,) = make_session(path).run(["embedding"], {"text": text})
    away = np.abs(whole - quantised).max()
    report = report_of(tmp_path, 1)
    assert 0 < away <= report["runs"]["int8"]["embedding"]["max_abs"] < 0.1
    assert report["runs"]["int8"]["embedding"]["reason"] == "eight bits: gated by error, not by a tolerance"
    assert report["runs"]["fp32 onnx"]["embedding"]["max_abs"] < 1e-5


def test_eight_bits_that_cost_more_than_the_gate_allows_are_not_published(put, tmp_path, system, monkeypatch) -> None:
    def evaluate(target: Target, data, split, options) -> dict[str, float]:
        if target.checkpoint is not None:
            return {"error": 0.1}
        return {"error": 0.12 if read_spec(target.model).provenance.get("stored_weights") == "INT8" else 0.1}

    worse = dataclasses.replace(system, evaluate=evaluate)
    monkeypatch.setattr(run_export_module, "find_export", lambda name: worse)
    put("0.1")
    with pytest.raises(ParityError, match=r"'error' is 0.12, torch has 0.1: a loss of 0.02, allowed is 0.01"):
        put("0.1", precision="int8")
    assert not (tmp_path / "models/tiny_encoder/2").exists()


def test_eight_bits_need_real_inputs_and_a_metric(put, system, tiny, monkeypatch) -> None:
    with pytest.raises(EvaluationError, match="calibrated and measured on real inputs: give --data"):
        put("0.1", precision="int8", data=None, no_data=True)
    (model,) = system.models(Path(__file__).with_name("conftest.py"), None)
    for lacking, says in (({"calibration": None}, "no calibration inputs"), ({"spec": tiny.spec}, "no metric")):
        lesser = dataclasses.replace(model, **lacking)
        less = dataclasses.replace(system, models=lambda *_, lesser=lesser: [lesser])
        monkeypatch.setattr(run_export_module, "find_export", lambda name, less=less: less)
        with pytest.raises(ExportError, match=says):
            put("0.1", precision="int8")


def test_the_command_sums_up(put, tmp_path, capsys) -> None:
    put("0.1")
    words = {"data": tmp_path / "data", "dry_run": True}
    export("tiny", tmp_path / "models", tmp_path / "run.ckpt", **words)
    said = capsys.readouterr()
    assert "error: 0.1 in version 1, 0.1 now" in said.out
    assert "not published (dry run): tiny_encoder" in said.out
    assert "measuring tiny: what is published" in said.err
    export("tiny", tmp_path / "models", tmp_path / "run.ckpt", **words, as_json=True)
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["incumbent"]["version"] == 1


def test_what_the_server_does_not_load_is_taken_back(put, tmp_path, monkeypatch) -> None:
    put("0.1")

    def never(url: str, name: str, number: str) -> None:
        assert (tmp_path / "models" / name / number).is_dir()
        raise StationError("the server has not loaded it")

    monkeypatch.setattr(run_export_module, "wait_until_served", never)
    with pytest.raises(StationError, match=r"not loaded it\ntiny_encoder version 2 was taken back"):
        put("0.1", url="localhost:1")
    assert sorted(p.name for p in (tmp_path / "models/tiny_encoder").iterdir()) == [".highest_version", "1"]
    (folder,) = put("0.1")
    assert folder.name == "3"  # 2 is not given to other content


def test_what_cannot_be_taken_back_is_said_to_stand(put, tmp_path, monkeypatch) -> None:
    def never(url: str, name: str, number: str) -> None:
        raise StationError("the server has not loaded it")

    def stuck(folder: Path) -> None:
        raise PublishError("read-only file system")

    monkeypatch.setattr(run_export_module, "wait_until_served", never)
    monkeypatch.setattr(run_export_module, "withdraw", stuck)
    with pytest.raises(StationError, match=r"tiny_encoder version 1 STANDS in .*: read-only file system; remove it"):
        put("0.1", url="localhost:1")


def test_a_version_is_asked_of_a_server_only(monkeypatch) -> None:
    with pytest.raises(EvaluationError, match="version '2' is asked of a server"):
        Target(model=Path("model.onnx"), version="2")
    asked: list[tuple] = []
    monkeypatch.setattr(ServerStation, "__init__", lambda self, *words: asked.append(words))
    open_station(Target(url="here:1", version="2"), "tiny", "tiny_encoder", lambda checkpoint, data: [])
    assert asked == [("here:1", "tiny_encoder", "2")]
