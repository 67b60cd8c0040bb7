from __future__ import annotations

import json

import numpy as np
import onnxruntime as ort
import pytest
import torch

from neurips16.export.errors import EvaluationError
from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import run_export
from neurips16.export.session import make_session
from neurips16.export.spec import read_spec
from neurips16.export.systems.sound_classifier.models import SoundClassifierModel, parity_sounds
from neurips16.training.systems.sound_classifier.network import SoundClassifier

LABELS = ["low tone", "clicks", "noise"]
RATE = 22_050


@pytest.fixture(scope="module")
def network() -> SoundClassifier:
    torch.manual_seed(0)
    network = SoundClassifier(
        LABELS, held_out_fold=2, width=1 / 8, layers=5, initialisation="he", silence_dbfs=-60.0
    ).eval()
    with torch.no_grad():  # statistics of real values, so that steps differ
        for _ in range(20):
            network.train()(0.1 * torch.randn(4, RATE))
    return network.eval()


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    about = {"system": "sound_classifier", "epoch": 0, "step": 3, "metrics": {}}
    content = {"neurips16": about, "hyper_parameters": dict(network.hparams), "state_dict": network.state_dict()}
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint, sound_folder, tmp_path_factory):
    """Exported with every gate: parity at four lengths, and the accuracy on the set."""
    repository = tmp_path_factory.mktemp("export") / "models"
    (published,) = run_export("sound_classifier", checkpoint, repository, data=sound_folder)
    return published / "model.onnx"


@pytest.mark.slow
def test_what_is_published_says_what_it_is(model):
    spec = read_spec(model)
    assert json.loads(spec.client_parameters["labels"]) == LABELS == list(spec.labels["class_probabilities"])
    assert spec.parameters == {
        "sample_rate_hz": "22050",
        "window_samples": "110250",
        "step_samples": "8192",
        "held_out_fold": "2",
    }
    report = json.loads((model.parent / "parity.json").read_text())
    assert report["passed"]
    assert len({case["waveform"][1] for case in report["cases"]}) == 4
    assert report["metrics"]["onnx"]["accuracy"]["allowed_loss"] == 0.005


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.01, 1.0, 2.345, 5.0, 5.1, 17.0])
def test_any_length_is_answered_as_torch_answers_it(model, network, seconds):
    waveform = 0.2 * np.random.default_rng(3).standard_normal((2, round(seconds * RATE))).astype(np.float32)
    session = make_session(model, intra_op_threads=1)
    names = [output.name for output in session.get_outputs()]
    got = dict(zip(names, session.run(None, {"waveform": waveform}), strict=True))
    with torch.no_grad():
        want = SoundClassifierModel(network)(torch.from_numpy(waveform))
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(got["class_probabilities"].sum(1), 1, rtol=1e-5)
    # The clip's answer follows from the steps', as our client computes it.
    weights = got["step_weights"][:, :, None] + 1e-6
    mean = (np.log(got["step_probabilities"]) * weights).sum(1) / weights.sum(1)
    likely = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    np.testing.assert_allclose(got["class_probabilities"], likely, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_no_sound_at_all_is_an_error_and_not_the_end_of_the_process(model):
    session = make_session(model, intra_op_threads=1)
    with pytest.raises(ort.capi.onnxruntime_pybind11_state.Fail):
        session.run(None, {"waveform": np.zeros((1, 0), np.float32)})
    assert session.run(None, {"waveform": np.zeros((1, RATE), np.float32)})[0].shape == (1, 3)


@pytest.mark.slow
def test_neighbours_in_a_batch_change_nothing(model):
    session = make_session(model, intra_op_threads=1)
    sounds = np.stack(parity_sounds(None))
    together = session.run(None, {"waveform": sounds})[0]
    for i, sound in enumerate(sounds):
        alone = session.run(None, {"waveform": sound[None]})[0][0]
        np.testing.assert_allclose(together[i], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_metrics_are_the_same_at_the_checkpoint_and_the_file(model, checkpoint, sound_folder, tmp_path):
    system = find_export("sound_classifier")
    answers = tmp_path / "answers.jsonl"
    before = system.evaluate(Target(checkpoint=checkpoint), sound_folder, "all", {"answers": str(answers)})
    assert before["clips"] == 18
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert np.mean([row["class"] == row["answer"] for row in rows]) == pytest.approx(before["accuracy"])
    assert system.evaluate(Target(model=model), sound_folder, "all", {}) == before
    held_out = system.evaluate(Target(model=model), sound_folder, "test", {})
    assert held_out["clips"] == 6
    fold = [row for row in rows if row["clip"].startswith("2-")]
    assert held_out["accuracy"] == pytest.approx(np.mean([row["class"] == row["answer"] for row in fold]))


def test_what_cannot_be_measured_is_refused(checkpoint, sound_folder, tmp_path):
    system = find_export("sound_classifier")
    with pytest.raises(EvaluationError, match="'test' or 'all', got 'train'"):
        system.evaluate(Target(checkpoint=checkpoint), sound_folder, "train", {})
    with pytest.raises(EvaluationError, match="log_mel_svm, log_mel_forest, mfcc_svm, mfcc_forest"):
        system.evaluate(Target(baseline="knn"), sound_folder, "all", {})
    options = {"answers": str(tmp_path / "no/such/file")}
    with pytest.raises(EvaluationError, match="cannot be written"):
        system.evaluate(Target(baseline="mfcc_svm"), sound_folder, "all", options)
    other = tmp_path / "set"
    (other / "meta").mkdir(parents=True)
    (other / "audio").symlink_to(sound_folder / "audio")
    table = (sound_folder / "meta/esc50.csv").read_text()
    (other / "meta/esc50.csv").write_text(table.replace("clicks", "barking"))
    with pytest.raises(EvaluationError, match="does not know the classes barking"):
        system.evaluate(Target(checkpoint=checkpoint), other, "all", {})


def test_baselines_answer_with_the_same_names(sound_folder):
    metrics = find_export("sound_classifier").evaluate(Target(baseline="mfcc_svm"), sound_folder, "all", {})
    assert list(metrics) == ["clips", "accuracy", "recall_low_tone", "recall_clicks", "recall_noise"]
    assert metrics["accuracy"] > 0.8
