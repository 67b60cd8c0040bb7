"""The models that ship: what they say of themselves, what they need, and what they are worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurips16.export.registry import Target, find_export
from neurips16.export.spec import read_spec
from neurips16.serving.release import RELEASES, oldest_supported, preflight
from neurips16.serving.repository import config_for, read_config

MODELS = Path(__file__).parents[2] / "serving/models"
NEWEST = {
    folder.name: max(folder.glob("*/model.onnx"), key=lambda p: int(p.parent.name))
    for folder in sorted(MODELS.iterdir())
    if folder.is_dir()
}


def test_models_ship_within_the_size_that_a_checkout_can_bear():
    assert NEWEST
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) <= 32 * 2**20
    deepmath = [path for path in NEWEST.values() if read_spec(path).system == "deepmath"]
    assert sum(path.stat().st_size for path in deepmath) <= 18 * 2**20
    sounds = [path for path in NEWEST.values() if read_spec(path).system == "sound_classifier"]
    assert sum(path.stat().st_size for path in sounds) <= 8 * 2**20


@pytest.mark.parametrize("name", NEWEST)
def test_a_shipped_model_is_described_checked_and_configured(name):
    path = NEWEST[name]
    spec = read_spec(path)
    assert spec.name == name
    report = json.loads((path.parent / "parity.json").read_text())
    assert report["passed"]
    if find_export(spec.system).trained:  # what is not has neither a run nor a metric
        assert spec.provenance["step"] > 0
        assert report["metrics"]["onnx"]
    assert read_config(MODELS / name / "config.pbtxt") == config_for(spec)


@pytest.mark.parametrize("name", NEWEST)
def test_every_supported_release_loads_a_shipped_model(name):
    for release in RELEASES.values():
        if release.name >= oldest_supported().name:
            preflight(NEWEST[name], release)


@pytest.mark.data
@pytest.mark.slow
def test_the_shipped_premise_models_beat_counting(real_deepmath):
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    system = find_export("deepmath")
    options = {"sample": "600"}
    metrics = system.evaluate(Target(model=NEWEST["premise_encoder"]), real_deepmath, "test", options)
    assert metrics["pairs"] > 8000
    assert metrics["pair_accuracy"] > 0.7175
    assert metrics["recall_at_64"] > 0.8


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif("rfcn" not in NEWEST, reason="needs the detector in serving/models")
def test_the_shipped_detector_finds_blood_cells(real_bccd):
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    assert NEWEST["rfcn"].stat().st_size <= 10 * 2**20
    metrics = find_export("rfcn").evaluate(Target(model=NEWEST["rfcn"]), real_bccd, "test", {})
    assert metrics["images"] == 48
    assert metrics["map_50"] >= 0.80
    assert min(metrics[f"ap_50_{name}"] for name in ("Platelets", "RBC", "WBC")) > 0.6
