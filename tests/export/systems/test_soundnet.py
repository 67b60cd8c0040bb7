from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from neurips16.export.errors import EvaluationError
from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import run_export
from neurips16.export.spec import read_spec
from neurips16.training.systems.soundnet.network import SoundNet

SIZES = {8: {"pool5": 32, "conv6": 64}, 5: {"pool3": 16, "conv4": 32}}  # published channels over 8


@pytest.fixture(scope="module", params=[8, 5])
def exported(request, tmp_path_factory):
    """A narrow network of each depth, exported with every gate: (depth, checkpoint, model file)."""
    folder = tmp_path_factory.mktemp("soundnet")
    torch.manual_seed(0)
    network = SoundNet(
        depth=request.param,
        width=1 / 8,
        objects=3,
        scenes=2,
        initialisation="he",
        object_labels=["low", "high", "none"],
    )
    about = {"system": "soundnet", "epoch": 0, "step": 1, "metrics": {}}
    content = {"neurips16": about, "hyper_parameters": dict(network.hparams), "state_dict": network.state_dict()}
    torch.save(content, folder / "model.ckpt")
    (published,) = run_export("soundnet", folder / "model.ckpt", folder / "models", no_data=True)
    return request.param, folder / "model.ckpt", published / "model.onnx"


@pytest.mark.slow
def test_heads_and_features_are_published(exported):
    depth, _, model = exported
    spec = read_spec(model)
    outputs = {tensor.name: tensor.dims for tensor in spec.outputs}
    assert outputs.pop("object_probabilities") == ("N", "S", 3)
    assert outputs.pop("scene_probabilities") == ("N", "S", 2)
    assert {name: dims[-1] for name, dims in outputs.items()} == SIZES[depth]
    assert spec.labels == {"object_probabilities": ("low", "high", "none")}
    report = json.loads((model.parent / "parity.json").read_text())
    assert report["passed"]
    assert len({case["waveform"][1] for case in report["cases"]}) == 3


@pytest.mark.slow
def test_the_distance_from_the_teachers_is_the_same_for_checkpoint_and_file(exported, sound_pairs):
    _, checkpoint, model = exported
    system = find_export("soundnet")
    before = system.evaluate(Target(checkpoint=checkpoint), sound_pairs, "all", {})
    after = system.evaluate(Target(model=model), sound_pairs, "all", {})
    assert before["sounds"] == 8
    assert before["object_kl"] > 0
    assert 0 <= before["scene_agreement"] <= 1
    assert after == pytest.approx(before, rel=1e-3)
    with pytest.raises(EvaluationError, match="has no baseline"):
        system.evaluate(Target(baseline="x"), sound_pairs, "all", {})
    assert np.isfinite(list(before.values())).all()
