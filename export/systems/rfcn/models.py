"""R-FCN as one ONNX model: from the pixels of images of any size to boxes in those pixels.

The resize rule, both suppressions and the filling up to a fixed number are in the graph. Suppression is ONNX's own
NonMaxSuppression; position-sensitive pooling is ours (``neurips16::PSRoIPool``, function body and native kernels).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from neurips16.export.registry import ExportedModel
from neurips16.export.spec import EXACT, MetricGate, ModelSpec, Op, TensorSpec, Tolerance
from neurips16.training.data.detection.reader import read_detection_set, read_image
from neurips16.training.system import CHECKPOINT_KEY, load_module, read_checkpoint
from neurips16.training.systems.rfcn.network import MAX_DETECTIONS, RFCN
from neurips16.training.systems.rfcn.resnet import fuse_norms

PAPER = (
    "R-FCN: Object Detection via Region-based Fully Convolutional Networks (Dai et al., NIPS 2016), sections 2 and 3"
)
MODEL = "rfcn"
MAX_BATCH_SIZE = 8
MAP = MetricGate("map_50", 0.005, "weights rounded to FP16 move boxes and scores by a little: half a point at most")
PIXELS = Tolerance(1e-4, 0.05, "FP32 sums in another order than torch's, through exp: a twentieth of a pixel at most")
PROBABILITIES = Tolerance(1e-3, 2e-4, "softmax of FP32 sums in another order than torch's; values are at most 1")
# Parts of pictures (height, width) as shares, so that the sizes differ even where those of a data set do not.
CALIBRATION_IMAGES = 16
CROPS = ((1.0, 1.0), (0.55, 1.0), (1.0, 0.4), (0.3, 0.25))


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The detector of a checkpoint.

    Args:
        checkpoint: of `neurips16 train rfcn`.
        data: the data set's folder, whose pictures the parity check reads; None: drawn discs.
    """
    network = load_module(checkpoint, "rfcn")
    assert isinstance(network, RFCN)
    h = network.hparams
    about = dict(read_checkpoint(checkpoint)[CHECKPOINT_KEY])
    spec = ModelSpec(
        name=MODEL,
        system="rfcn",
        summary=f"Finds objects of {len(h.classes)} classes on images of any size.",
        inputs=(
            TensorSpec("image", "UINT8", ("N", "H", "W", 3), "RGB pixels, rows from the top; any height and width"),
        ),
        outputs=(
            TensorSpec("num_detections", "INT32", ("N", 1), "how many of the rows below count", tolerance=EXACT),
            TensorSpec(
                "detection_boxes",
                "FP32",
                ("N", MAX_DETECTIONS, 4),
                "x0, y0, x1, y1: the edges in pixels of the input, so that x1 - x0 is the width; zeros fill up",
                tolerance=PIXELS,
            ),
            TensorSpec(
                "detection_scores",
                "FP32",
                ("N", MAX_DETECTIONS),
                "probability of the class, falling; zeros fill up",
                tolerance=PROBABILITIES,
            ),
            TensorSpec(
                "detection_classes",
                "INT32",
                ("N", MAX_DETECTIONS),
                "number of the class among the labels, from 0; zeros fill up",
                tolerance=EXACT,
            ),
        ),
        max_batch_size=MAX_BATCH_SIZE,
        labels={"detection_classes": tuple(h.classes)},
        parameters={
            "longest_side": str(h.longest_side),
            "max_detections": str(MAX_DETECTIONS),
            "min_score": str(h.min_score),
            "shorter_side": str(h.shorter_side),
        },
        metrics=(MAP,),
        custom_ops=(Op("neurips16", "PSRoIPool"),),
        paper=PAPER,
        provenance=about,
    )
    images = _parity_images(data)
    pairs = [_crop(images[i], CROPS[1])[None] for i in (0, 1)]
    cases = [
        {"image": images[0][None]},
        {"image": np.concatenate(pairs)},
        *({"image": _crop(image, crop)[None]} for image, crop in zip(images[2:], CROPS[2:], strict=True)),
    ]
    # The norms become part of the convolutions before anything is rounded, so that the file is half as large.
    example = {"image": torch.from_numpy(cases[1]["image"])}
    calibration = None if data is None else partial(_calibration_images, data)
    return [ExportedModel(spec, fuse_norms(network), example, cases, fp16_weights=True, calibration=calibration)]


def _calibration_images(data: Path) -> Iterator[dict[str, np.ndarray]]:
    """Pictures that the network was trained on, evenly spaced; the metric is measured on others."""
    split = "train" if (data / "annotations").is_dir() else "trainval"  # as COCO has it, and as VOC has it
    pictures = read_detection_set(data, split).pictures
    for i in np.linspace(0, len(pictures) - 1, CALIBRATION_IMAGES).astype(int):
        yield {"image": read_image(pictures[i].path)[None]}


def _parity_images(data: Path | None) -> list[np.ndarray]:
    """Four images of one size, uint8 [H, W, 3] each."""
    if data is None:
        return [_discs(seed) for seed in range(4)]
    pictures = read_detection_set(data, "test").pictures
    images = [read_image(pictures[i].path) for i in np.linspace(0, len(pictures) - 1, 4).astype(int)]
    height, width = np.min([image.shape[:2] for image in images], axis=0)
    return [image[:height, :width] for image in images]


def _discs(seed: int) -> np.ndarray:
    """Coloured discs on a pale ground, uint8 [240, 320, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:240, :320]
    image = np.full((240, 320, 3), 220, np.uint8)
    for _ in range(12):
        centre, radius = rng.uniform((0, 0), (240, 320)), rng.uniform(8, 40)
        image[np.hypot(y - centre[0], x - centre[1]) < radius] = rng.integers(40, 200, 3)
    return image


def _crop(image: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    height, width = (max(2, int(side * share)) for side, share in zip(image.shape, shares, strict=False))
    return np.ascontiguousarray(image[:height, :width])
