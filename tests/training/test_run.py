from __future__ import annotations

import pytest
import torch
import yaml

from neurips16.training.errors import CheckpointError, UnknownSystemError
from neurips16.training.run import last_checkpoint, run_training
from neurips16.training.system import PRESETS, find_system, load_module, read_checkpoint, system_names

TINY = """
model: {channels: [6, 8, 10], hidden: 12}
data: {conjectures_per_batch: 8, random_premises: 3, mining_start: 1, mining_pool: 20, mining_keep: 2}
trainer:
  max_epochs: 2
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  limit_val_batches: 0
"""


@pytest.fixture
def presets(tmp_path, monkeypatch):
    (tmp_path / "presets/deepmath").mkdir(parents=True)
    (tmp_path / "presets/deepmath/tiny.yaml").write_text(TINY)
    monkeypatch.setattr("neurips16.training.system.PRESETS", tmp_path / "presets")


pytestmark = [
    # The trainer's advice about workers and intervals does not concern forty conjectures.
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning"),
    pytest.mark.filterwarnings(
        "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"
    ),  # in Lightning's calls
]


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_ends_like_an_undisturbed_one(deepmath_folder, tmp_path, presets, monkeypatch):
    # 35 training conjectures in batches of 8 are 5 steps an epoch; stop in the middle of the second epoch.
    one, two = tmp_path / "whole", tmp_path / "stopped"
    run_training("deepmath", "tiny", deepmath_folder, one)
    steps = read_checkpoint(one / "epoch001.ckpt")["neurips16"]["step"]
    half = steps // 2 + 1
    monkeypatch.setattr("neurips16.training.run.BATCHES_PER_CHECKPOINT", 1)
    run_training("deepmath", "tiny", deepmath_folder, two, [f"--trainer.max_steps={half}"])
    assert read_checkpoint(two / "last.ckpt")["neurips16"]["step"] == half
    run_training("deepmath", "tiny", deepmath_folder, two)
    assert read_checkpoint(two / "epoch001.ckpt")["neurips16"]["step"] == steps
    assert len(list((two / "metrics").iterdir())) == 2  # nothing that was logged is lost
    whole, stopped = load_module(one / "epoch001.ckpt"), load_module(two / "epoch001.ckpt")
    # The hard negatives of the second epoch were mined again in its middle, so the runs are alike, not equal.
    for a, b in zip(whole.parameters(), stopped.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.02)


def test_a_checkpoint_rebuilds_its_module_alone(deepmath_folder, tmp_path, presets):
    run_training("deepmath", "tiny", deepmath_folder, tmp_path / "run", ["--trainer.max_epochs=1"])
    path = tmp_path / "run/epoch000.ckpt"
    model = load_module(path, "deepmath")
    assert model.hparams.hidden == 12
    assert not model.training
    about = read_checkpoint(path)["neurips16"]
    assert about["system"] == "deepmath"
    assert about["epoch"] == 0
    with pytest.raises(CheckpointError, match="expected one of 'rfcn'"):
        load_module(path, "rfcn")
    assert yaml.safe_load((tmp_path / "run/metrics/version_0/config.yaml").read_text())["model"]["hidden"] == 12


def test_the_last_checkpoint_is_that_of_the_last_epoch(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for name in ("last.ckpt", "epoch999.ckpt", "epoch1000.ckpt"):
        (tmp_path / name).touch()
    assert last_checkpoint(tmp_path) == tmp_path / "epoch1000.ckpt"


def test_a_file_that_holds_code_is_not_opened(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("never",))

    torch.save({"neurips16": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_module(tmp_path / "evil.ckpt")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="not written by"):
        load_module(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="does not exist"):
        load_module(tmp_path / "none.ckpt")


def test_unknown_names_list_those_that_there_are(tmp_path):
    with pytest.raises(UnknownSystemError, match="the systems are: deepmath"):
        find_system("deepmaths")
    with pytest.raises(UnknownSystemError, match=r"its presets are: .*small"):
        find_system("deepmath").preset("huge")
    assert "deepmath" in system_names()


def test_the_caller_keeps_its_denormals(tmp_path):
    with pytest.raises(UnknownSystemError):
        run_training("deepmaths", "small", None, tmp_path)
    smallest = torch.tensor(2.0**-149)
    assert smallest + smallest > 0


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("deepmath/*.yaml")), ids=lambda p: p.stem)
def test_every_preset_is_accepted(preset, deepmath_folder, tmp_path):
    changes = [
        "--trainer.fast_dev_run=1",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]
    small = ["--model.channels=[4,4,4]", "--model.hidden=4", "--data.conjectures_per_batch=2", "--data.limit=4"]
    if "definition" in preset.read_text():
        pytest.skip("stage 2 needs a checkpoint of stage 1: see test_deepmath")
    assert run_training(preset.parent.name, preset.stem, deepmath_folder, tmp_path, [*changes, *small]) is None
