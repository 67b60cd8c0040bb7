"""Small settings under which the generators train in seconds."""

from __future__ import annotations

import pytest
import yaml

TRAINER = {
    "max_epochs": 2,
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 1,
}
DATA = {"batch_size": 8, "batches_per_epoch": 4, "validation_size": 20}
MODELS = {
    "infogan": {
        "categorical": [4],
        "uniform": 1,
        "gaussian": 1,
        "noise": 6,
        "hidden": 16,
        "generator_channels": [8, 6],
        "discriminator_channels": [6, 8],
    },
    "disentangle": {"features": 4, "specified": 5, "unspecified": 3},
    "dgn_am": {
        "convolutions": [[4, 3, 2, 1, 0], [6, 3, 1, 1, 2]],
        "widths": [10, 8],
        "generator_widths": [12],
        "generator_first": [6, 4],
        "generator_stages": [[5, 4], [1, 0]],
        "discriminator_channels": [4],
        "discriminator_hidden": 6,
        "classifier_batches": 3,
    },
}


@pytest.fixture
def tiny_presets(tmp_path, monkeypatch):
    """A preset ``tiny`` of each generator, for the images of ``mnist_folder``."""
    for system, model in MODELS.items():
        folder = tmp_path / "presets" / system
        folder.mkdir(parents=True)
        (folder / "tiny.yaml").write_text(yaml.safe_dump({"model": model, "data": DATA, "trainer": TRAINER}))
    monkeypatch.setattr("neurips16.training.system.PRESETS", tmp_path / "presets")
