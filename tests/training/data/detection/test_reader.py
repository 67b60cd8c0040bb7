from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from neurips16.training.data.detection.image_input import MEAN_COLOUR, resize_image
from neurips16.training.data.detection.module import DetectionData, _flipped, _jittered
from neurips16.training.data.detection.reader import read_detection_set
from neurips16.training.errors import DataError


def test_voc_s_boxes_become_edges(detection_folder):
    train = read_detection_set(detection_folder, "train")
    assert train.classes == ("disc", "square")
    assert len(train.pictures) == 12
    xml = (detection_folder / "Annotations/p0.xml").read_text()
    first = {key: int(xml.split(f"<{key}>")[1].split("<")[0]) for key in ("xmin", "ymin", "xmax", "ymax")}
    assert train.pictures[0].boxes[0].tolist() == [first["xmin"] - 1, first["ymin"] - 1, first["xmax"], first["ymax"]]


def test_boxes_of_no_size_are_dropped_and_counted(detection_folder, caplog):
    path = detection_folder / "Annotations/p0.xml"
    xml = path.read_text()
    box = "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    extra = f"<object><name>disc</name><difficult>0</difficult>{box}</object>"
    hard = extra.replace("<xmax>9", "<xmax>20").replace("<ymax>9", "<ymax>20").replace("cult>0", "cult>1")
    try:
        path.write_text(xml.replace("</annotation>", extra + hard + "</annotation>"))
        with caplog.at_level(logging.WARNING):
            changed = read_detection_set(detection_folder, "train")
    finally:
        path.write_text(xml)
    before = read_detection_set(detection_folder, "train")
    assert (before.dropped, changed.dropped) == (0, 1)
    assert "1 boxes without width or height were dropped" in caplog.text
    assert len(changed.pictures[0].boxes) == len(before.pictures[0].boxes) + 1
    assert changed.pictures[0].ignored.tolist()[-1]


def test_several_years_are_taken_together(detection_folder, tmp_path):
    (tmp_path / "VOC2007").symlink_to(detection_folder)
    (tmp_path / "VOC2012").symlink_to(detection_folder)
    assert len(read_detection_set(tmp_path, "train").pictures) == 24
    assert len(read_detection_set(tmp_path, "all").pictures) == 40


def test_faults_are_named(detection_folder, tmp_path):
    with pytest.raises(DataError, match="neither ImageSets/Main"):
        read_detection_set(tmp_path, "train")
    with pytest.raises(DataError, match=r"no split 'dev'; it has: .*test, train, trainval"):
        read_detection_set(detection_folder, "dev")
    with pytest.raises(DataError, match=r"the classes are disc; got 'square'"):
        read_detection_set(detection_folder, "train", ["disc"])


def test_coco(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    content = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [1.5, 2, 10, 20]},
            {"image_id": 7, "category_id": 1, "bbox": [5, 5, 5, 5], "iscrowd": 1},
            {"image_id": 7, "category_id": 1, "bbox": [5, 5, 0, 5]},
        ],
    }
    file = tmp_path / "annotations/instances_val2017.json"
    file.write_text(json.dumps(content))
    found = read_detection_set(tmp_path, "val")
    assert (found.classes, found.dropped) == (("dog", "cat"), 1)
    assert [p.path for p in found.pictures] == [tmp_path / "val2017/a.jpg", tmp_path / "val2017/b.jpg"]
    assert found.pictures[0].boxes.tolist() == [[1.5, 2, 11.5, 22], [5, 5, 10, 10]]
    assert found.pictures[0].labels.tolist() == [1, 0]
    assert found.pictures[0].ignored.tolist() == [False, True]
    assert found.pictures[1].boxes.shape == (0, 4)
    with pytest.raises(DataError, match=r"no instances_train\.json, with or without a year; its splits are: val2017"):
        read_detection_set(tmp_path, "train")
    file.write_text(json.dumps(content | {"categories": []}))
    with pytest.raises(DataError, match="KeyError: 3"):
        read_detection_set(tmp_path, "val")


def coco(folder, *names, boxes=([0, 0, 5, 5],)):
    """Annotation files, each with a picture of its own name."""
    (folder / "annotations").mkdir(exist_ok=True)
    for name in names:
        content = {
            "images": [{"id": 1, "file_name": f"{name}.jpg"}],
            "categories": [{"id": 1, "name": "dog"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes],
        }
        (folder / f"annotations/instances_{name}.json").write_text(json.dumps(content))


def test_a_split_of_coco_takes_no_other_s_pictures(tmp_path):
    def names(split):
        return [picture.path.stem for picture in read_detection_set(tmp_path, split).pictures]

    coco(tmp_path, "train", "trainval", "val", "val_small", "val2", "train-extra", "test-dev2017", "minival2014")
    for name in ("train", "trainval", "val", "val_small", "train-extra", "minival"):
        assert names(name) == [name if name != "minival" else "minival2014"]
    with pytest.raises(DataError, match=r"no instances_test\.json, with or without a year; its splits are: minival"):
        names("test")
    coco(tmp_path, "train2014", "test2014", "test2017")
    assert names("train") == ["train"]
    with pytest.raises(DataError, match="'test' of several years: name one of test2014, test2017"):
        names("test")
    assert len(set(names("all"))) == len(names("all")) == 11


@pytest.mark.parametrize("box", [[0, 0, float("inf"), 5], [0, float("nan"), 5, 5], [0, 0, 1e39, 5], [-1e308, 0, 1, 1]])
def test_a_box_of_coco_without_an_end(tmp_path, box):
    coco(tmp_path, "val", boxes=[box])
    with pytest.raises(DataError, match=r"instances_val.json .*is not finite"):
        read_detection_set(tmp_path, "val")


@pytest.mark.data
def test_the_real_blood_cells(real_bccd):
    """The counts of the data set's README; test has 48 of its 72 pictures here."""
    trainval = read_detection_set(real_bccd, "trainval")
    assert trainval.classes == ("Platelets", "RBC", "WBC")
    assert len(trainval.pictures) == 292
    counts = np.bincount(np.concatenate([p.labels for p in trainval.pictures]))
    assert trainval.dropped + counts.sum() == 292 + 3350 + 301
    assert counts.tolist()[::2] == [292, 301]
    everything = read_detection_set(real_bccd, "all")
    assert everything.dropped == 2
    names = {p.path for p in read_detection_set(real_bccd, "test").pictures}
    assert not names & {p.path for p in trainval.pictures}


@pytest.mark.parametrize(
    ("shape", "want"),
    [
        ((480, 640), (600, 800)),
        ((480, 1000), (480, 1000)),
        ((300, 3000), (100, 1000)),
        ((1, 1), (600, 600)),
        ((1, 20000), (1, 1000)),
        ((375, 500), (600, 800)),
    ],
)
def test_the_resize_rule(shape, want):
    image, scale = resize_image(torch.zeros(1, 3, *shape, dtype=torch.uint8), 600, 1000)
    assert image.shape[-2:] == want
    np.testing.assert_allclose(scale, [a / b for a, b in zip(want, shape, strict=True)], rtol=1e-6)


def test_flips_take_the_boxes_along():
    image = torch.arange(2.0 * 3).reshape(1, 2, 3)
    boxes = torch.tensor([[0.0, 0, 1, 2]])
    seen = set()
    for seed in range(20):
        turned, moved = _flipped(image, boxes, "both", np.random.default_rng(seed))
        x0, y0, x1, y1 = moved[0].int().tolist()
        assert sorted(turned[0, y0:y1, x0:x1].flatten().tolist()) == [0, 3]
        seen.add(tuple(turned.flatten().tolist()))
    assert len(seen) == 4
    assert all(torch.equal(_flipped(image, boxes, "none", np.random.default_rng(seed))[0], image) for seed in range(9))


def test_jitter_stays_within_pixels():
    image = torch.rand(3, 8, 8) * 255
    changed = _jittered(image, 0.3, np.random.default_rng(0))
    assert not torch.equal(changed, image)
    assert 0 <= changed.min() <= changed.max() <= 255
    assert torch.equal(_jittered(image, 0.0, np.random.default_rng(0)), image)


def loader(data, *, epoch=0, step=0):
    data.trainer = SimpleNamespace(
        lightning_module=None,
        current_epoch=epoch,
        global_step=step,
        world_size=1,
        global_rank=0,
        accumulate_grad_batches=1,
    )
    return data.train_dataloader()


def test_batches_continue_where_a_run_was_stopped(detection_folder):
    data = DetectionData(str(detection_folder), batch_size=4, shorter_sides=[64, 48], longest_side=100)
    whole = list(loader(data))
    assert len(whole) == 4
    rest = list(loader(data, step=2))
    assert len(rest) == 2
    for got, want in zip(rest, whole[2:], strict=True):
        assert torch.equal(got.images, want.images)
        assert all(torch.equal(a, b) for a, b in zip(got.boxes, want.boxes, strict=True))
    again = next(iter(loader(data, epoch=1, step=4)))
    assert not torch.equal(again.images, whole[0].images)


def test_a_batch_of_pictures_of_different_sizes(detection_folder, tmp_path):
    data = DetectionData(str(detection_folder), batch_size=16, shorter_sides=[40], longest_side=1000, flips="none")
    (batch,) = loader(data)
    assert batch.images.shape == (16, 3, *batch.sizes.amax(0).int().tolist())
    assert len({tuple(size) for size in batch.sizes.tolist()}) > 1
    for image, size, boxes in zip(batch.images, batch.sizes, batch.boxes, strict=True):
        height, width = size.int().tolist()
        assert (image[:, height:] == torch.tensor(MEAN_COLOUR)[:, None, None]).all()
        assert (image[:, :, width:] == torch.tensor(MEAN_COLOUR)[:, None, None]).all()
        assert (boxes[:, 2:] <= size.flip(0) + 1e-4).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_box_stays_on_its_object(detection_folder):
    """After resizing, the middle of a disc or square still has its colour."""
    data = DetectionData(str(detection_folder), batch_size=16, shorter_sides=[90], longest_side=1000, flips="both")
    (batch,) = loader(data)
    colours = torch.tensor([[200.0, 30, 30], [30, 30, 200]])
    for image, boxes, labels in zip(batch.images, batch.boxes, batch.labels, strict=True):
        for box, label in zip(boxes, labels, strict=True):
            x, y = ((box[:2] + box[2:]) / 2).int().tolist()
            assert (image[:, y, x] - colours[label]).abs().max() < 40


def test_validation_numbers_the_pictures(detection_folder):
    data = DetectionData(str(detection_folder), val_split="test")
    assert [int(n) for n in data.val_dataloader()] == [0, 1, 2, 3]
    assert not list(DetectionData(str(detection_folder)).val_dataloader())


def test_a_picture_that_cannot_be_read(tmp_path):
    from neurips16.training.data.detection.reader import read_image

    (tmp_path / "x.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read as a picture"):
        read_image(tmp_path / "x.jpg")
    Image.new("L", (3, 2)).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (2, 3, 3)
