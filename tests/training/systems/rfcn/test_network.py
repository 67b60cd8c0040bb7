from __future__ import annotations

import pytest
import torch

from neurips16.training.data.detection.image_input import resize_image
from neurips16.training.data.detection.module import DetectionData, collate
from neurips16.training.data.detection.reader import read_detection_set, read_image
from neurips16.training.metrics.detection import detection_metrics
from neurips16.training.run import run_training
from neurips16.training.system import load_module, read_checkpoint
from neurips16.training.systems.rfcn.network import MAX_DETECTIONS, RFCN, SYSTEM
from neurips16.training.systems.rfcn.region_proposals import Proposals

TINY = {
    "shorter_side": 96,
    "longest_side": 160,
    "depth": 18,
    "width": 8,
    "norm": "batch",
    "frozen_stages": 0,
    "reduced": 16,
    "k": 3,
    "rpn_hidden": 16,
    "anchor_scales": (2, 4),
    "before_nms": 100,
    "proposals": 50,
    "min_size": 4,
    "anchor_border": 1000,
    "regions": 32,
}


def tiny(**options):
    torch.manual_seed(0)
    return RFCN(["disc", "square"], **(TINY | options))


@pytest.fixture
def loud():
    """A detector with random weights, large enough that it finds something everywhere."""
    network = tiny().eval()
    with torch.no_grad():
        for layer in (network.heads.scores, network.rpn.objectness, network.rpn.deltas):
            layer.weight.normal_(std=0.5)
    return network


@pytest.mark.parametrize("shape", [(1, 96, 128), (2, 70, 50), (1, 1, 1), (1, 2, 700)])
def test_images_of_any_size(loud, shape):
    images = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)
    with torch.no_grad():
        found = loud(images)
    count = found["num_detections"]
    assert count.shape == (shape[0], 1)
    assert found["detection_boxes"].shape == (shape[0], MAX_DETECTIONS, 4)
    limits = torch.tensor([shape[2], shape[1]] * 2)
    for i, n in enumerate(count[:, 0].tolist()):
        boxes, scores = found["detection_boxes"][i], found["detection_scores"][i]
        assert (boxes >= 0).all()
        assert (boxes <= limits + 1e-3).all()
        assert (scores[:n] > loud.hparams.min_score).all()
        assert (scores[:n].diff() <= 0).all()
        assert not boxes[n:].any()
        assert not scores[n:].any()
        assert not found["detection_classes"][i, n:].any()
    if shape[1] > 50:
        assert (count > 0).all()


def test_a_batch_answers_as_its_images_do_alone(loud):
    images = torch.randint(0, 256, (2, 80, 100, 3), dtype=torch.uint8)
    with torch.no_grad():
        together = loud(images)
        for i in range(2):
            for name, value in loud(images[i : i + 1]).items():
                torch.testing.assert_close(value[0], together[name][i], rtol=1e-3, atol=1e-3)


def test_boxes_are_in_pixels_of_the_input(loud):
    """Twice as large an image of the same content has boxes twice as large: the network sees almost the same."""
    image = torch.randint(0, 256, (1, 12, 16, 3), dtype=torch.uint8)
    small = image.repeat_interleave(8, 1).repeat_interleave(8, 2)
    large = small.repeat_interleave(8, 1).repeat_interleave(8, 2)
    with torch.no_grad():
        a, b = loud(small)["detection_boxes"], loud(large)["detection_boxes"]
    limit = torch.tensor([128.0, 96, 128, 96])
    assert a.max() <= 128.001
    assert b.max() > 512
    assert (b[0] <= limit * 8 + 0.01).all()


def batch_of(folder, count=4):
    data = DetectionData(str(folder), batch_size=count, shorter_sides=[96], longest_side=160, flips="none")
    data.trainer = type(
        "T",
        (),
        {
            "current_epoch": 0,
            "global_step": 0,
            "world_size": 1,
            "global_rank": 0,
            "accumulate_grad_batches": 1,
            "lightning_module": None,
        },
    )
    return next(iter(data.train_dataloader()))


@pytest.mark.parametrize("ohem", [True, False])
def test_all_parts_learn(detection_folder, ohem):
    network = tiny(ohem=ohem).train()
    losses = network.losses(batch_of(detection_folder))
    assert list(losses) == ["rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss"]
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


def test_region_targets():
    network = tiny()
    objects = torch.tensor([[10.0, 10, 30, 30], [50, 50, 90, 90]])
    proposals = torch.tensor([[[12.0, 10, 32, 30], [0, 0, 5, 5], [50, 50, 70, 90], [10, 10, 30, 30]]])
    valid = torch.tensor([[True, True, True, False]])
    boxes, matched, labels = network.region_targets(Proposals(proposals, valid), [objects], [torch.tensor([1, 0])])
    assert labels.tolist() == [[2, 1, 2, 0, 1]]  # the objects themselves, then the valid proposals
    assert torch.equal(boxes[0, :2], objects)
    assert torch.equal(matched[0, [0, 2]], objects[[0, 0]])
    assert torch.equal(matched[0, 4], objects[1])  # an overlap of exactly one half is foreground


def test_without_ohem_a_quarter_is_foreground_and_the_background_overlaps_a_little():
    network = tiny(ohem=False, regions=8)
    objects = torch.tensor([[0.0, 0, 20, 20]])
    near = torch.tensor([0.0, 0, 20, 20]).expand(20, 4)  # all foreground
    beside = torch.tensor([12.0, 0, 32, 20]).expand(20, 4)  # overlap 1/4
    far = torch.tensor([60.0, 60, 80, 80]).expand(20, 4)
    proposals = Proposals(torch.cat([near, beside, far])[None], torch.ones(1, 60, dtype=torch.bool))
    _, _, labels = network.region_targets(proposals, [objects], [torch.tensor([0])])
    assert (labels[0, :21] == 1).sum() == 2
    assert (labels[0, 21:41] == 0).sum() == 6
    assert (labels[0, 41:] == -1).all()


def test_ohem_takes_the_highest_losses(detection_folder, monkeypatch):
    """With fewer regions than there are, the loss is the mean of the highest ones, each counted once."""
    network = tiny(regions=4).train()
    batch = batch_of(detection_folder, 2)
    some = network.losses(batch)
    network.hparams.regions = 1000
    torch.manual_seed(0)
    every = network.losses(batch)
    # 4 of an image have at least the mean loss of all, and no more than the whole sum.
    assert some["class_loss"] * 8 <= every["class_loss"] * 2000 * 1.001
    assert some["class_loss"] >= every["class_loss"] * 2000 / 120


def test_a_picture_without_objects_is_background():
    network = tiny().train()
    image, empty = torch.rand(3, 96, 96) * 255, torch.zeros(0, 4)
    batch = collate([(image, torch.ones(2), empty, torch.zeros(0, dtype=torch.int64))])
    losses = network.losses(batch)
    assert losses["box_loss"] == 0
    assert losses["rpn_box_loss"] == 0
    assert losses["class_loss"] > 0


def test_settings_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ValueError, match="stride_in_1x1 to false"):
        tiny(imagenet_weights="x.pth")
    with pytest.raises(ValueError, match="'sgd' or 'adamw', got 'adam'"):
        tiny(optimizer="adam")
    with pytest.raises(ValueError, match="got 2 x 10"):
        tiny(proposals=10)
    with pytest.raises(ValueError, match="frozen norms and stages need weights"):
        tiny(norm="frozen").setup("fit")


def test_biases_learn_twice_as_fast_without_decay():
    groups = tiny().configure_optimizers()["optimizer"].param_groups
    assert [g["weight_decay"] for g in groups] == [5e-4, 0]
    assert groups[1]["initial_lr"] == 2 * groups[0]["initial_lr"] == 2e-3


def test_the_schedules():
    steps = tiny(milestones=[5, 8], warmup_steps=2).configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert [steps(i) for i in (0, 1, 4, 5, 8)] == pytest.approx([0.5, 1, 1, 0.1, 0.01])
    cosine = tiny(decay_steps=10).configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert [cosine(i) for i in (0, 5, 10, 20)] == pytest.approx([1, 0.5, 0, 0], abs=1e-9)


@pytest.mark.parametrize("preset", sorted(p.stem for p in SYSTEM.preset("paper").parent.glob("*.yaml")))
def test_presets_are_understood(preset):
    import yaml

    settings = yaml.safe_load(SYSTEM.preset(preset).read_text())
    with torch.device("meta"):
        RFCN(["a", "b", "c"], **settings["model"])
    DetectionData("nowhere", **settings["data"])


@pytest.mark.slow
def test_it_learns_four_pictures_by_heart(detection_folder):
    pictures = read_detection_set(detection_folder, "train").pictures[:4]
    samples = []
    for picture in pictures:
        image, scale = resize_image(torch.from_numpy(read_image(picture.path).copy()).permute(2, 0, 1)[None], 96, 160)
        boxes = torch.from_numpy(picture.boxes) * scale.flip(0).repeat(2)
        samples.append((image[0], scale, boxes, torch.from_numpy(picture.labels)))
    batch = collate(samples)
    network = tiny(optimizer="adamw", learning_rate=0.003, width=16).train()
    optimizer = network.configure_optimizers()["optimizer"]
    for _ in range(200):
        total = torch.stack(list(network.losses(batch).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    network.eval()
    found = [network.detect(read_image(picture.path)) for picture in pictures]
    metrics = detection_metrics(pictures, found, network.hparams.classes)
    assert metrics["map_50"] > 0.7


@pytest.mark.filterwarnings("ignore::UserWarning:lightning")
@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_a_run_continues_and_its_checkpoint_rebuilds_the_detector(detection_folder, tmp_path):
    settings = {**TINY, "optimizer": "adamw", "milestones": []}
    del settings["shorter_side"], settings["longest_side"]  # the data say them
    options = [f"--model.{key}={list(v) if isinstance(v, tuple) else v}" for key, v in settings.items()]
    options += ["--data.workers=0", "--data.batch_size=4", "--data.shorter_sides=[64]", "--data.longest_side=160"]
    options += ["--data.train_split=train", "--data.val_split=test", "--trainer.accelerator=cpu"]
    options += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    for epochs in (1, 2):
        more = [f"--trainer.max_epochs={epochs}", "--trainer.max_steps=-1", "--trainer.num_sanity_val_steps=0"]
        run_training("rfcn", "paper", detection_folder, tmp_path, [*options, *more])
        if epochs == 1:
            (tmp_path / "epoch000.ckpt").rename(tmp_path / "last.ckpt")
    network = load_module(tmp_path / "epoch001.ckpt", "rfcn")
    assert network.hparams.classes == ["disc", "square"]
    assert (network.hparams.shorter_side, network.hparams.longest_side) == (64, 160)
    about = read_checkpoint(tmp_path / "epoch001.ckpt")["neurips16"]
    assert about["step"] == 6  # three batches an epoch
    assert {"val_map_50", "val_map"} <= set(about["metrics"])
