"""`neurips16 train` as a user sees it: what it prints, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

TINY = ["--model.hidden=16", "--data.batches_per_epoch=2", "--trainer.max_epochs=1", "--trainer.limit_val_batches=1"]


def _train(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "neurips16.clients", "train", *words], capture_output=True, text=True, timeout=280
    )


@pytest.mark.slow
def test_a_run_says_what_concerns_it_and_how_to_go_on(mnist_folder, tmp_path):
    run = tmp_path / "run"
    done = _train("infogan", "--preset", "small", "--data", str(mnist_folder), "--output", str(run), *TINY)
    assert done.returncode == 0, done.stderr
    *_, epoch, trained, export = done.stdout.splitlines()
    assert epoch.startswith("epoch 0: train_")
    assert "val_categorical_error " in epoch
    assert trained == f"trained: {run}/epoch000.ckpt"
    command = f"neurips16 export infogan --checkpoint {run}/epoch000.ckpt --repository models --data {mnist_folder}"
    assert export == f"export it: {command}"
    said = done.stdout + done.stderr
    for noise in ("Tip", "litlogger", "exists and is not empty", "LeafSpec", "it/s", "\x1b"):
        assert noise not in said


def test_the_systems_are_listed_with_their_presets():
    done = _train("--list")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["infogan"].endswith("--data FOLDER --preset celeba|chairs|faces|paper|small|svhn")
    assert "gibbs" not in lines  # there is nothing to train
