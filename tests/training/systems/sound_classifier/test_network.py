from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from neurips16.training.command import cross_validate as command
from neurips16.training.cross_validation import cross_validate, train_fold
from neurips16.training.data.esc50.module import SoundBatch
from neurips16.training.errors import DataError, UnknownSystemError
from neurips16.training.run import last_checkpoint, run_training
from neurips16.training.system import PRESETS, load_module
from neurips16.training.systems.sound_classifier.network import SoundClassifier, StepScores, trunk_state
from neurips16.training.systems.soundnet.network import SoundNet

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]
QUIET = [
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.log_every_n_steps=1",
]
LABELS = ["low tone", "clicks", "noise"]


def _model(**settings) -> SoundClassifier:
    torch.manual_seed(0)
    return SoundClassifier(LABELS, width=1 / 8, layers=5, initialisation="he", **settings)


def _save(module, path):
    content = {"neurips16": {"system": module.system}, "hyper_parameters": dict(module.hparams)}
    torch.save({**content, "state_dict": module.state_dict()}, path)
    return str(path)


def test_the_clips_score_is_the_weighted_mean_of_the_steps():
    scores = torch.tensor([[[1.0, 3.0, 100.0], [0.0, 2.0, -100.0]]])
    assert StepScores(scores, torch.tensor([[1.0, 1.0, 0.0]])).clip_logits[0].tolist() == pytest.approx(
        [2, 1], abs=1e-3
    )
    silent = StepScores(scores, torch.zeros(1, 3)).clip_logits[0]
    assert silent.tolist() == pytest.approx([104 / 3, -98 / 3], rel=1e-4)  # all silent: all count alike


def test_silence_behind_a_sound_has_no_vote():
    model = _model(silence_dbfs=-60).eval()
    sound = 0.2 * torch.randn(1, 3 * 22_050)
    padded = F.pad(sound, (0, 4 * 22_050))
    steps = model(padded)
    assert steps.scores.shape == (1, 3, model.trunk.length(padded.shape[1]))
    assert steps.weights.shape == steps.scores[:, 0].shape
    assert steps.weights[0, 3] > 0.99
    assert steps.weights[0, -3:].max() < 1e-6
    even = _model().eval()(padded)
    assert torch.equal(even.weights, torch.ones_like(even.weights))
    assert not torch.allclose(even.clip_logits, steps.clip_logits, atol=1e-3)
    torch.testing.assert_close(even.scores, steps.scores)


def test_a_quiet_sound_is_heard_as_a_loud_one_is_weighed():
    """Weights depend on the level, steeply only around the level that is called silence."""
    model = _model(silence_dbfs=-60).eval()
    noise = torch.randn(1, 2 * 22_050)
    weights = [float(model(noise * 10 ** (level / 20)).weights[0, 2]) for level in (-20, -60, -100)]
    assert weights[0] > 0.99
    assert weights[1] == pytest.approx(0.5, abs=0.1)
    assert weights[2] < 0.01


def test_short_sounds_are_repeated_and_any_length_is_answered():
    model = _model().eval()
    sound = 0.1 * torch.randn(2, 30_000)
    likely = model.probabilities(sound)
    torch.testing.assert_close(likely.sum(1), torch.ones(2))
    repeated = sound.repeat(1, 4)[:, : 5 * 22_050]
    torch.testing.assert_close(likely, model.probabilities(repeated))
    assert model.probabilities(0.1 * torch.randn(1, 200_000)).shape == (1, 3)


def test_the_loss_wants_the_shares():
    model = _model()
    model.log = lambda *a, **k: None
    waveform, soft_labels = torch.randn(2, 30_000), torch.tensor([[0.3, 0.7, 0.0], [0.0, 0.0, 1.0]])
    torch.manual_seed(1)
    loss = model.training_step(SoundBatch(waveform, soft_labels), 0)
    torch.manual_seed(1)
    logs = model(waveform).clip_logits.log_softmax(1)
    assert loss.item() == pytest.approx(-(soft_labels * logs).sum(1).mean().item(), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_gains_and_biases_do_not_decay():
    groups = _model(weight_decay=0.1).configure_optimizers()["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert {p.dim() for p in groups[0]["params"]} == {2, 3}
    assert {p.dim() for p in groups[1]["params"]} == {1}


def test_a_trunk_is_taken_from_either_system(tmp_path):
    soundnet = SoundNet(width=1 / 8, objects=3, scenes=2)
    taken = trunk_state(_save(soundnet, tmp_path / "soundnet.ckpt"), _model().trunk)
    assert all(torch.equal(value, soundnet.trunk.state_dict()[name]) for name, value in taken.items())
    own = _model()
    again = trunk_state(_save(own, tmp_path / "own.ckpt"), _model().trunk)
    assert torch.equal(again["blocks.0.conv.weight"], own.trunk.blocks[0].conv.weight)
    wide = SoundNet(width=1 / 4, objects=3, scenes=2)
    with pytest.raises(ValueError, match="another depth or width"):
        trunk_state(_save(wide, tmp_path / "wide.ckpt"), _model().trunk)


def test_wrong_settings():
    with pytest.raises(ValueError, match="end_to_end, svm"):
        _model(head="forest")
    with pytest.raises(ValueError, match="features that something has learnt"):
        _model(head="svm")


SMALL = ["--model.width=0.125", "--data.batch_size=6", "--threads=1", "--trainer.accelerator=cpu", *QUIET]
SCRATCH = [
    *SMALL,
    "--trainer.max_steps=6",
    "--data.epoch_size=18",
    "--trainer.gradient_clip_val=1.0",
    "--model.learning_rate=0.01",
    "--model.warmup_steps=1",
    "--model.decay_steps=8",
]


@pytest.mark.slow
def test_cross_validation_measures_each_fold_on_a_network_that_has_not_seen_it(sound_folder, tmp_path, monkeypatch):
    alone = train_fold("sound_classifier", "small", sound_folder, tmp_path, 2, SCRATCH)
    assert [path.name for path in tmp_path.iterdir()] == ["fold2"]
    results = cross_validate("sound_classifier", "small", sound_folder, tmp_path, SCRATCH)
    assert results["folds"][1] == alone
    assert [fold["fold"] for fold in results["folds"]] == [1, 2, 3]
    assert np.sum(results["confusion"]) == 18 == results["metrics"]["clips"]
    accuracies = [fold["accuracy"] for fold in results["folds"]]
    assert results["accuracy_mean"] == pytest.approx(np.mean(accuracies))
    assert results["accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert results == json.loads((tmp_path / "cross_validation.json").read_text())
    for fold in results["folds"]:
        assert all(row["clip"].startswith(f"{fold['fold']}-") for row in fold["clips"])
        assert load_module(last_checkpoint(tmp_path / f"fold{fold['fold']}")).hparams.held_out_fold == fold["fold"]
    assert load_module(last_checkpoint(tmp_path / "all")).hparams.held_out_fold == 0
    # A second start trains nothing again.
    monkeypatch.setattr(
        "neurips16.training.cross_validation.run_training", lambda *a, **k: pytest.fail("trained again")
    )
    assert cross_validate("sound_classifier", "small", sound_folder, tmp_path, SCRATCH, final=False) == results
    assert command.context_settings["allow_extra_args"]


def test_systems_without_folds_are_refused(sound_folder, tmp_path):
    with pytest.raises(UnknownSystemError, match="the data of deepmath have no folds"):
        cross_validate("deepmath", "small", sound_folder, tmp_path)


def test_a_fold_that_is_not_there_is_refused(sound_folder, tmp_path):
    with pytest.raises(DataError, match="has no fold 5; it has 1, 2, 3"):
        train_fold("sound_classifier", "small", sound_folder, tmp_path, 5)


@pytest.mark.slow
def test_the_papers_classifier_is_fitted_to_given_features(sound_folder, tmp_path):
    """Random features tell tones, clicks and noise apart well enough for a linear SVM."""
    weights = _save(SoundNet(width=1 / 8, objects=3, scenes=2, initialisation="he"), tmp_path / "soundnet.ckpt")
    run = tmp_path / "svm"
    extra = [*SMALL, f"--model.trunk_weights={weights}", "--data.held_out_fold=1"]
    module = load_module(run_training("sound_classifier", "paper", sound_folder, run, extra))
    given = load_module(weights).trunk.state_dict()
    for name, value in module.trunk.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(value, given[name]), name  # the trunk stays as it was, statistics included
    from neurips16.training.data.esc50.reader import read_sound_set
    from neurips16.training.systems.sound_classifier.network import classify

    clips = read_sound_set(sound_folder).clips
    right = [classify(module, clip) == clip.label for clip in clips]
    assert np.mean(right) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("preset", sorted((PRESETS / "sound_classifier").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_is_accepted(sound_folder, tmp_path, preset):
    weights = _save(SoundNet(width=1 / 8, objects=3, scenes=2), tmp_path / "soundnet.ckpt")
    given = [] if preset.stem == "small" else [f"--model.trunk_weights={weights}"]
    once = ["--trainer.fast_dev_run=1", "--data.held_out_fold=1", *SMALL]
    run_training("sound_classifier", preset.stem, sound_folder, tmp_path / "run", [*given, *once])
