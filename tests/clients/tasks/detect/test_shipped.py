"""Detection against a real Triton with the detector that ships."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neurips16.clients import AsyncClient, Client
from neurips16.clients.media.image_reading import read_image
from neurips16.clients.tasks.detect.calls import detect_all, detection_labels

MODELS = Path(__file__).parents[4] / "serving/models"
pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="needs the serving extra"),
    pytest.mark.skipif(not (MODELS / "rfcn").is_dir(), reason=f"needs the detector in {MODELS}"),
]


@pytest.fixture(scope="module")
def url():
    from neurips16.serving.triton.server import TritonServer

    with TritonServer(MODELS, models=["rfcn"], grpc_port=0, http_port=None, metrics_port=None) as server:
        yield server.url


@pytest.fixture
def pictures(real_bccd):
    names = (real_bccd / "ImageSets/Main/test.txt").read_text().split()[:6]
    return [real_bccd / "JPEGImages" / f"{name}.jpg" for name in names]


@pytest.mark.data
def test_over_grpc_as_in_process(url, pictures):
    from neurips16.export.session import make_session

    newest = max((MODELS / "rfcn").glob("*/model.onnx"), key=lambda p: int(p.parent.name))
    session = make_session(newest)  # the function bodies
    with Client(url) as client:
        labels = client.run(detection_labels())
        for path, found in zip(pictures, client.run(detect_all(pictures, min_score=0.0)), strict=True):
            count, boxes, scores, classes = (v[0] for v in session.run(None, {"image": read_image(path)[None]}))
            assert len(found) == count[0] > 5
            np.testing.assert_allclose([d.box for d in found], boxes[: len(found)], atol=0.1)
            np.testing.assert_allclose([d.score for d in found], scores[: len(found)], atol=1e-3)
            assert [d.label for d in found] == [labels[c] for c in classes[: len(found)]]


@pytest.mark.data
def test_all_ways_to_ask_agree(url, pictures, run_command, tmp_path):
    async def ask():
        async with AsyncClient(url) as client:
            return await client.detect(read_image(pictures[0]), min_score=0.5)

    with Client(url) as client:
        found = client.detect(pictures[0], min_score=0.5)
    assert asyncio.run(ask()) == found
    arguments = ["--json", "--min-score", 0.5, "--draw", tmp_path, "--url", url]
    status, out, err = run_command("detect", *pictures, *arguments)
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["image"] for line in lines] == [str(path) for path in pictures]
    assert lines[0]["detections"] == [{"label": d.label, "score": d.score, "box": d.box._asdict()} for d in found]
    assert len(list(tmp_path.iterdir())) == len(pictures)


@pytest.mark.data
def test_a_turned_picture_has_turned_boxes(url, pictures, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    upright = Image.open(pictures[0])
    upright.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png", exif=exif)
    with Client(url) as client:
        want, got = (client.detect(path, min_score=0.5) for path in (pictures[0], tmp_path / "turned.png"))
    assert got == want


def test_extreme_images(url):
    with Client(url) as client:
        assert client.detect(np.zeros((1, 1, 3), np.uint8)) == []
        for shape in ((40, 20_000, 3), (3000, 2, 3), (900, 1600)):
            for detection in client.detect(np.full(shape, 230, np.uint8)):
                x0, y0, x1, y1 = detection.box
                assert 0 <= x0 < x1 <= shape[1] + 0.01
                assert 0 <= y0 < y1 <= shape[0] + 0.01
