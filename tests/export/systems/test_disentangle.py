from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import run_export
from neurips16.training.data.mnist.reader import read_mnist

from ..generator_checkpoints import disentangle, save


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(disentangle(), tmp_path_factory.mktemp("disentangle"))


@pytest.fixture(scope="module")
def repository(checkpoint, mnist_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "models"
    published = run_export("disentangle", checkpoint, folder, data=mnist_folder)
    assert [p.parent.name for p in published] == ["disentangle", "disentangle_decoder"]
    return folder


def run(repository, name, **inputs):
    session = ort.InferenceSession(repository / name / "1/model.onnx", providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.slow
def test_a_swap_takes_each_part_from_its_own_image(repository, mnist_folder):
    images = np.array(read_mnist(mnist_folder, "test").images[:4])
    style, content = images[:2], images[2:]
    swapped = run(repository, "disentangle", style_image=style, class_image=content)
    alone = run(repository, "disentangle", style_image=style, class_image=style)
    np.testing.assert_allclose(swapped["unspecified"], alone["unspecified"], atol=1e-5)
    assert abs(swapped["specified"] - alone["specified"]).max() > 1e-2
    assert (swapped["unspecified_deviation"] > 0).all()
    drawn = run(repository, "disentangle_decoder", specified=swapped["specified"], unspecified=swapped["unspecified"])
    assert abs(drawn["image"].astype(int) - swapped["image"]).max() <= 1


@pytest.mark.slow
def test_other_runtimes_draw_the_same(repository, mnist_folder):
    from onnx.reference import ReferenceEvaluator

    images = np.array(read_mnist(mnist_folder, "test").images[:2])
    path = repository / "disentangle/1/model.onnx"
    inputs = {"style_image": images, "class_image": images[::-1].copy()}
    want = run(repository, "disentangle", **inputs)
    got = dict(zip(want, ReferenceEvaluator(onnx.load(path)).run(None, inputs), strict=True))
    assert abs(got["image"].astype(int) - want["image"]).max() <= 1
    np.testing.assert_allclose(got["specified"], want["specified"], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_metrics_are_the_same_at_every_station(repository, checkpoint, mnist_folder):
    evaluate = find_export("disentangle").evaluate
    before = evaluate(Target(checkpoint=checkpoint), mnist_folder, "test", {})
    readings = {"specified_error", "unspecified_error", "unspecified_sample_error"}
    assert set(before) == {"images", "swap_error", "judge_error"} | readings
    assert before["unspecified_sample_error"] > before["unspecified_error"]
    assert before["judge_error"] < 0.1  # the made-up classes are easy
    after = evaluate(Target(model=repository / "disentangle_decoder/1/model.onnx"), mnist_folder, "test", {})
    assert after == pytest.approx(before, abs=0.1)
