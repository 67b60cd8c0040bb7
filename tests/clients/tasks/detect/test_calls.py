"""The clients and the command of object detection, against a detector of plain NumPy behind the real protocol."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from concurrent import futures
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from neurips16.clients import AsyncClient, Client
from neurips16.clients.media.box_drawing import draw_detections
from neurips16.clients.protocol.errors import InvalidImageError, InvalidInputError, UnexpectedReplyError
from neurips16.clients.tasks.detect.calls import Box, Detection, detect_all

LABELS = ["blue thing", "red thing"]


def answer(image):
    """The box of the red and of the blue pixels of [H, W, 3], each as sure as its colour is strong."""
    rows = []
    for label, channel in ((1, 0), (0, 2)):
        place = np.argwhere((image[:, :, channel] > 90) & (image[:, :, 1] < 60))
        if len(place):
            (y0, x0), (y1, x1) = place.min(0), place.max(0) + 1
            rows.append((image[y0, x0, channel] / 255, label, [x0, y0, x1, y1]))
    rows.sort(key=lambda row: -row[0])
    out = {
        "num_detections": np.array([[len(rows)]], np.int32),
        "detection_boxes": np.zeros((1, 5, 4), np.float32),
        "detection_scores": np.zeros((1, 5), np.float32),
        "detection_classes": np.zeros((1, 5), np.int32),
    }
    for i, (score, label, box) in enumerate(rows):
        out["detection_scores"][0, i], out["detection_classes"][0, i], out["detection_boxes"][0, i] = score, label, box
    return out


class FakeDetector(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self):
        self.labels, self.change, self.delay_s = json.dumps(LABELS), None, 0.0
        self.shapes, self.flying, self.most_flying, self.lock = [], 0, 0, threading.Lock()

    def ModelConfig(self, request, context):  # noqa: N802
        config = model_config_pb2.ModelConfig(name=request.name, max_batch_size=8)
        if self.labels is not None:
            config.parameters["labels"].string_value = self.labels
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request, context):  # noqa: N802
        with self.lock:
            self.flying += 1
            self.most_flying = max(self.flying, self.most_flying)
        time.sleep(self.delay_s)
        (tensor,) = request.inputs
        image = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(tuple(tensor.shape))
        outputs = answer(image[0])
        if self.change:
            try:
                self.change(outputs)
            except ValueError:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this one it does not like")
        reply = service_pb2.ModelInferResponse(model_name=request.model_name)
        for name, value in outputs.items():
            kind = {"f": "FP32", "i": "INT32"}[value.dtype.kind]
            reply.outputs.add(name=name, datatype=kind, shape=value.shape)
            reply.raw_output_contents.append(value.tobytes())
        with self.lock:
            self.shapes.append(image.shape)
            self.flying -= 1
        return reply


@pytest.fixture
def detector():
    servicer = FakeDetector()
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    servicer.url = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def picture():
    """A red square of 6 at (4, 2) and a paler blue one of 3 at (20, 10), on white."""
    image = np.full((24, 32, 3), 255, np.uint8)
    image[2:8, 4:10] = (230, 0, 0)
    image[10:13, 20:23] = (0, 0, 102)
    return image


WANT = [
    Detection("red thing", pytest.approx(230 / 255), Box(4.0, 2.0, 10.0, 8.0)),
    Detection("blue thing", pytest.approx(0.4), Box(20.0, 10.0, 23.0, 13.0)),
]


def test_paths_images_and_arrays(detector, picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "x.png")
    with Client(detector.url) as client:
        for source in (picture, Image.fromarray(picture), tmp_path / "x.png", str(tmp_path / "x.png")):
            assert client.detect(source, min_score=0.0) == WANT
        assert client.detect(picture) == WANT[:1]
        assert client.detect(picture[:1, :1]) == []
    assert detector.shapes[-1] == (1, 1, 1, 3)


def test_async_client(detector, picture):
    async def ask():
        async with AsyncClient(detector.url) as client:
            return await client.detect(picture, min_score=0.0)

    assert asyncio.run(ask()) == WANT


def test_boxes_lie_on_the_upright_image(detector, picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise when it is shown
    Image.fromarray(picture).save(tmp_path / "x.png", exif=exif)
    with Client(detector.url) as client:
        assert client.detect(tmp_path / "x.png")[0].box == Box(16.0, 4.0, 22.0, 10.0)
    assert detector.shapes == [(1, 32, 24, 3)]


def test_several_images_go_out_at_the_same_time_and_come_back_in_order(detector, picture):
    detector.delay_s = 0.05
    images = [np.roll(picture, i, axis=1) for i in range(12)]
    with Client(detector.url, max_in_flight=4) as client:
        found = client.run(detect_all(images))
    assert [round(f[0].box[0]) for f in found] == [4 + i for i in range(12)]
    assert 2 <= detector.most_flying <= 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda o: o.pop("detection_scores"), "gave no detection_scores"),
        (lambda o: o["num_detections"].fill(6), "no detections of one image"),
        (lambda o: o.update(detection_boxes=np.zeros((1, 4, 4), np.float32)), "no detections of one image"),
        (lambda o: o["detection_classes"].fill(2), "a class beyond its 2 labels"),
    ],
)
def test_replies_that_contradict_themselves(detector, picture, change, text):
    detector.change = change
    with Client(detector.url) as client, pytest.raises(UnexpectedReplyError, match=text):
        client.detect(picture)


@pytest.mark.parametrize("labels", [None, "cat, dog", '{"a": 1}'])
def test_a_model_without_labels(detector, picture, labels):
    detector.labels = labels
    with Client(detector.url) as client, pytest.raises(UnexpectedReplyError, match="labels"):
        client.detect(picture)


def test_inputs_that_cannot_be_used(detector, picture, tmp_path):
    with Client(detector.url) as client:
        with pytest.raises(InvalidInputError, match=r"0 to 1, got 1\.5"):
            client.detect(picture, min_score=1.5)
        with pytest.raises(InvalidImageError, match="does not exist"):
            client.detect(tmp_path / "x.png")


@pytest.fixture
def files(picture, tmp_path):
    names = ("a.png", "b.png", "sub/a.png")
    (tmp_path / "sub").mkdir()
    for i, name in enumerate(names):
        Image.fromarray(np.roll(picture, i, axis=1)).save(tmp_path / name)
    return [tmp_path / name for name in names]


def test_command_prints_one_json_object_for_each_image(run_command, detector, files):
    usual = ["--min-score", 0.3, "--url", detector.url]
    status, out, err = run_command("detect", *files, "--json", *usual)
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["image"] for line in lines] == [str(path) for path in files]
    assert [list(line) for line in lines] == [["image", "detections"]] * 3
    first, second = lines[1]["detections"]
    assert first == {
        "label": "red thing",
        "score": pytest.approx(230 / 255),
        "box": {"x0": 5, "y0": 2, "x1": 11, "y1": 8},
    }
    assert second["label"] == "blue thing"


def test_command_for_people_shows_what_is_sure(run_command, detector, files):
    status, out, err = run_command("detect", files[0], "--url", detector.url)
    assert (status, err) == (0, "")
    assert "1 found" in out
    assert "red thing" in out
    assert "4.0 2.0 10.0 8.0" in out
    assert "blue" not in out
    as_json = json.loads(run_command("detect", files[0], "--json", "--url", detector.url)[1])
    assert [one["label"] for one in as_json["detections"]] == ["red thing"]  # one threshold, however it is printed
    assert "blue" in run_command("detect", files[0], "--min-score", 0.3, "--url", detector.url)[1]
    assert "nothing found" in run_command("detect", files[0], "--min-score", 0.95, "--url", detector.url)[1]


def test_command_draws(run_command, detector, files, tmp_path):
    status, out, _ = run_command("detect", *files, "--json", "--draw", tmp_path / "out/deep", "--url", detector.url)
    assert status == 0
    assert len(out.splitlines()) == 3
    assert sorted(p.name for p in (tmp_path / "out/deep").iterdir()) == ["a-2.png", "a.png", "b.png"]
    drawn = np.asarray(Image.open(tmp_path / "out/deep/a.png"))
    assert drawn.shape == (24, 32, 3)
    assert (drawn != np.asarray(Image.open(files[0]))).any()


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [(["none.png"], 1, "does not exist"), (["a.png", "--draw", "a.png"], 2, "cannot write")],
)
def test_command_ends_in_one_line(run_command, detector, files, arguments, status, text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    got, _, err = run_command("detect", *arguments, "--url", detector.url)
    assert got == status
    assert len(err.splitlines()) == 1
    assert text in err


def test_an_image_over_the_limit_is_refused(run_command, detector, files):
    status, out, err = run_command("detect", files[0], "--url", detector.url, "--max-image-bytes", 1000)
    assert (status, out) == (1, "")
    assert "the limit is" in err


def test_a_bad_image_does_not_silence_the_others(run_command, detector, files, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    asked = [files[0], tmp_path / "bad.png", tmp_path / "none.png", files[1]]
    status, out, err = run_command("detect", *asked, "--json", "--url", detector.url)
    assert status == 1
    assert [json.loads(line)["image"] for line in out.splitlines()] == [str(files[0]), str(files[1])]
    first, second = err.splitlines()
    assert first.startswith(f"error: {tmp_path}/bad.png")
    assert second.startswith(f"error: {tmp_path}/none.png")


def test_an_image_that_the_model_refuses_does_not_silence_the_others(run_command, detector, files):
    refused = []

    def refuse(outputs):
        if not refused:
            refused.append(True)
            raise ValueError

    detector.change = refuse
    status, out, err = run_command("detect", *files, "--json", "--url", detector.url)
    assert status == 1
    assert len(out.splitlines()) == 2
    assert len(err.splitlines()) == 1


def test_folders_and_standard_input(run_command, detector, files, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("no picture, and not asked for")
    (tmp_path / ".hidden.png").write_text("no picture, and not asked for")
    status, out, err = run_command("detect", tmp_path, "--json", "--url", detector.url)
    assert (status, err) == (0, "")
    assert [json.loads(line)["image"] for line in out.splitlines()] == [str(path) for path in files]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(files[1].read_bytes())))
    status, out, err = run_command("detect", "-", "--json", "--url", detector.url)
    assert (status, err) == (0, "")
    assert json.loads(out)["image"] == "standard input"
    (tmp_path / "empty").mkdir()
    status, _, err = run_command("detect", tmp_path / "empty", "--url", detector.url)
    assert status == 2
    assert "holds no file that ends in" in err


def test_drawing_keeps_to_the_image_and_to_its_colours(picture):
    large = np.full((300, 400, 3), 255, np.uint8)
    edges = [(0, 0, 400, 300), (380, 280, 400, 300), (0, 0, 10, 10), (100, 100, 200, 180)]
    found = [Detection(LABELS[i % 2], 0.9, tuple(map(float, box))) for i, box in enumerate(edges)]
    drawn = np.asarray(draw_detections(large, found, LABELS))
    assert drawn.shape == large.shape
    assert (drawn[100, 100:200] != 255).any(axis=1).all()  # a box's upper edge
    assert (drawn[140, 110:190] == 255).all()  # and nothing inside it
    alone = np.asarray(draw_detections(large, found[1:2], LABELS))
    assert tuple(alone[290, 380]) == tuple(drawn[290, 380]) != (255, 255, 255)  # a label has its colour on every image
    assert (large == 255).all()
    tiny = draw_detections(np.zeros((1, 1, 3), np.uint8), [Detection("x", 0.5, (0.0, 0.0, 1.0, 1.0))])
    assert tiny.size == (1, 1)
