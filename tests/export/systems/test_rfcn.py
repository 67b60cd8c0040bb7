from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from neurips16.export.errors import EvaluationError
from neurips16.export.ops import library_path
from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import run_export
from neurips16.export.session import make_session
from neurips16.export.spec import read_spec
from neurips16.export.systems.rfcn.models import models


@pytest.fixture(scope="module")
def network(rfcn_network):
    return rfcn_network


@pytest.fixture(scope="module")
def checkpoint(rfcn_checkpoint):
    return rfcn_checkpoint


@pytest.fixture(scope="module")
def exported(checkpoint, detection_folder, tmp_path_factory):
    """The tiny detector, exported with every gate."""
    (version,) = run_export("rfcn", checkpoint, tmp_path_factory.mktemp("export") / "models", data=detection_folder)
    return version / "model.onnx"


def test_the_specification(checkpoint, detection_folder):
    for data in (detection_folder, None):
        (model,) = models(checkpoint, data)
        assert model.spec.labels == {"detection_classes": ("disc", "square")}
        assert json.loads(model.spec.client_parameters["labels"]) == ["disc", "square"]
        assert model.spec.parameters["shorter_side"] == "96"
        shapes = {case["image"].shape[1:3] for case in model.cases}
        assert len(shapes) >= 3
        assert {len(case["image"]) for case in model.cases} == {1, 2}
        assert not any("norm" in name for name in model.module.state_dict())


def test_options_and_targets_that_are_not_there(checkpoint, detection_folder):
    evaluate = find_export("rfcn").evaluate
    with pytest.raises(EvaluationError, match="rfcn has no baseline 'knn'"):
        evaluate(Target(baseline="knn"), detection_folder, "test", {})
    with pytest.raises(EvaluationError, match="--sample: expected a number over 0, got 'x'"):
        evaluate(Target(checkpoint=checkpoint), detection_folder, "test", {"sample": "x"})


def test_evaluate_a_checkpoint(checkpoint, detection_folder):
    metrics = find_export("rfcn").evaluate(Target(checkpoint=checkpoint), detection_folder, "test", {"sample": "2"})
    assert metrics["images"] == 2
    assert metrics["boxes"] > 0
    assert {"map_50", "map_50_11", "map", "dropped"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.slow
class TestExported:
    def test_what_was_published(self, exported):
        spec = read_spec(exported)
        assert (spec.name, spec.max_batch_size) == ("rfcn", 8)
        report = json.loads((exported.parent / "parity.json").read_text())
        assert report["passed"]
        wanted = {"onnx"} | ({"kernels"} if library_path() else set())
        assert set(report["runs"]) == wanted
        assert report["metrics"]["onnx"]["map_50"]["allowed_loss"] == 0.005
        ops = {(node.domain, node.op_type) for node in onnx.load(exported).graph.node}
        assert ("neurips16", "PSRoIPool") in ops
        assert ("", "NonMaxSuppression") in ops
        assert {domain for domain, _ in ops} == {"", "neurips16"}

    @pytest.mark.parametrize("shape", [(1, 33, 70), (3, 120, 80), (1, 1, 1), (1, 9, 900)])
    def test_any_size_and_batch(self, exported, network, shape):
        images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        with torch.no_grad():
            want = network(torch.from_numpy(images))
        for library in {None, library_path()}:
            got = make_session(exported, op_library=library).run(None, {"image": images})
            for (name, value), answer in zip(want.items(), got, strict=True):
                if name == "num_detections":  # weights are rounded to FP16: one more or less at the least score
                    assert np.abs(answer - value.numpy()).max() <= 3
                assert answer.shape == tuple(value.shape)
                assert answer.dtype == value.numpy().dtype

    def test_inlined_it_needs_nothing_of_ours(self, checkpoint, exported, tmp_path):
        (version,) = run_export("rfcn", checkpoint, tmp_path / "models", inline=True, no_data=True)
        model = onnx.load(version / "model.onnx")
        assert not model.functions
        assert {node.domain for node in model.graph.node} == {""}
        image = np.random.default_rng(1).integers(0, 256, (1, 96, 130, 3), dtype=np.uint8)
        with_function, inlined = (
            make_session(path).run(None, {"image": image}) for path in (exported, version / "model.onnx")
        )
        for a, b in zip(with_function, inlined, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)

    def test_in_javascript(self, exported, node_modules, tmp_path):
        """onnxruntime-node knows functions: the same file, the same detections, no library of ours."""
        script = Path(__file__).with_name("rfcn_node.mjs")
        image = np.random.default_rng(2).integers(0, 256, (1, 70, 90, 3), dtype=np.uint8)
        (tmp_path / "image.bin").write_bytes(image.tobytes())
        command = ["node", str(script), str(node_modules), str(exported), str(tmp_path / "image.bin"), "70", "90"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        got = json.loads(done.stdout)
        want = make_session(exported).run(None, {"image": image})
        assert got["count"] == int(want[0][0, 0]) > 0
        np.testing.assert_allclose(np.reshape(got["boxes"], (100, 4)), want[1][0], rtol=1e-4, atol=1e-2)
