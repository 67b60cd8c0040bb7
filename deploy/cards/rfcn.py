"""Writes R-FCN's model card from the recorded run and from the model that ships.

    python deploy/cards/rfcn.py --run runs/rfcn-small --data ../shared/data/detection/BCCD

It keeps the run's settings and metrics (`run.json`, `metrics.csv`), draws the curve, measures the checkpoint and the
exported model on the test split (`checkpoint.json`, `model.json`, each with the command that made it), has a server
detect on our own picture and on five test pictures, and only then writes the text. What is measured already is not
measured again: delete its file to do so. `notes.md` is a person's, and is taken in.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from recording import (
    BUILD,
    CARDS,
    MODELS,
    ROOT,
    finish,
    measure,
    newest_model,
    notes,
    points,
    read_run,
    write_json,
    write_rows,
)

from neurips16.clients import Client
from neurips16.clients.media.box_drawing import draw_detections
from neurips16.clients.media.image_reading import read_image
from neurips16.clients.tasks.detect.calls import detect_all, detection_labels
from neurips16.serving import TritonServer

CARD = CARDS / "rfcn"
PICTURES_FOLDER = BUILD / "rfcn"
LOSSES = ("rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss")
PICTURES = 5
RUNNING_MEAN = 10


def main() -> None:
    """Measure what is not measured yet, draw, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the folder that `neurips16 train` left")
    parser.add_argument("--data", type=Path, required=True, help="BCCD, in PASCAL VOC's layout")
    arguments = parser.parse_args()
    CARD.mkdir(parents=True, exist_ok=True)
    run = record_run(arguments.run)
    model = newest_model("rfcn")
    targets = {
        "checkpoint": ["--checkpoint", str(arguments.run / run["checkpoint"])],
        "model": ["--model", str(model.relative_to(ROOT))],
    }
    results = {name: measure(CARD / f"{name}.json", "rfcn", words, arguments.data) for name, words in targets.items()}
    draw_detected(arguments.data)
    (CARD / "README.md").write_text(
        TEXT.format(
            table=table({name: result["metrics"] for name, result in results.items()}),
            size=f"{model.stat().st_size / 2**20:.1f}",
            settings=json.dumps(run["model"]),
            commands="\n".join(f"    {result['command']}" for result in results.values()),
            notes=notes(CARD),
            **{key: run[key] for key in ("steps", "batch_size", "checkpoint", "continuations")},
            **{key: results["model"]["metrics"][key] for key in ("images", "boxes")},
        )
    )
    print(f"wrote {CARD / 'README.md'}")  # noqa: T201


def record_run(run: Path) -> dict:
    """Keep the run's settings as ``run.json`` and its losses as ``metrics.csv``, and draw ``curve.png``."""
    found = read_run(run)
    rows = [row for row in found.rows if row.get("train_loss")]
    write_rows(CARD / "metrics.csv", ["epoch", "step", "train_loss", *LOSSES], rows)
    kept = found.settings(
        steps=found.config["trainer"]["max_steps"],
        batch_size=found.config["data"]["batch_size"],
        checkpoint=found.checkpoint.name,
    )
    write_json(CARD / "run.json", kept)
    figure, axes = plt.subplots(figsize=(8, 3.2), constrained_layout=True)
    for name in LOSSES:
        axes.plot(*points(rows, name, mean_over=RUNNING_MEAN), label=name.replace("_", " "))
    axes.set(xlabel="optimiser step", ylabel=f"loss, running mean of {RUNNING_MEAN} records", yscale="log")
    finish(figure, CARD / "curve.png", dpi=100)
    return kept


def draw_detected(data: Path) -> None:
    """What the served model finds: on our picture for the card, on five of the test split to be looked at in `build`.

    The data set's own pictures do not become part of the project.
    """
    names = (data / "ImageSets/Main/test.txt").read_text().split()
    chosen = [data / "JPEGImages" / f"{names[i]}.jpg" for i in np.linspace(0, len(names) - 1, PICTURES).astype(int)]
    places = {ROOT / "clients/tasks/detect/examples/cells.jpg": CARD / "detected.jpg"} | {
        p: PICTURES_FOLDER / p.name for p in chosen
    }
    images = [read_image(path) for path in places]
    with (
        TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server,
        Client(server.url) as client,
    ):
        labels = client.run(detection_labels())
        answers = client.run(detect_all(images, min_score=0.5))
    PICTURES_FOLDER.mkdir(parents=True, exist_ok=True)
    for path, image, found in zip(places.values(), images, answers, strict=True):
        drawn: Image.Image = draw_detections(image, found, labels)
        drawn.save(path, quality=80)


def table(results: dict[str, dict[str, float]]) -> str:
    """The metrics of the checkpoint and the model side by side."""
    columns = [key for key in results["model"] if key not in ("images", "boxes", "dropped")]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, metrics in results.items():
        lines.append(f"| {name} | " + " | ".join(f"{metrics[column]:.4f}" for column in columns) + " |")
    return "\n".join(lines)


TEXT = """# R-FCN on blood cells: rfcn

Written by `python deploy/cards/rfcn.py` from the files beside this one.

**What.** An image of any size to labelled boxes (Dai, Li, He, Sun, *R-FCN: Object Detection via Region-based Fully
Convolutional Networks*, NIPS 2016), in the small form of the preset `small`: {size} MB.

**Data.** BCCD (repository Shenggan/BCCD_Dataset, MIT), 640 x 480 pictures of blood films with red cells (RBC), white
cells (WBC) and platelets. Trained on `trainval`, 292 pictures, from scratch; the split `test` was not looked at before
the end. Boxes without width or height are left out.

**Run.** {steps} steps of {batch_size} pictures on two CPU cores, continued {continuations} times after stops; settings
in `run.json`. Weights are stored as FP16; arithmetic is FP32.

![losses](curve.png)

## Results on the test split ({images} pictures, {boxes} boxes)

{table}

`map_50` is PASCAL VOC's mean average precision at an overlap of 0.5 by area, `map_50_11` the same by 11 points, `map`
COCO's mean over overlaps of 0.5 to 0.95, `ap_50_CLASS` one class by area. The test split here is 48 of the published 72
pictures. Published figures on BCCD, with pretrained weights, other splits and often enlarged data: YOLO-Dense 0.86
(as told in *Mathematics* 2025, 13(18), 3023), YOLOv8n 0.924 and NBCDC-YOLOv8 0.947 (*IET Computer Vision* 2025,
doi:10.1049/cvi2.12341), mAP at 0.5 each.

What the served model says, at 0.5 and above, of a picture that is drawn and not photographed
(`clients/tasks/detect/examples`):

![cells](detected.jpg)

## What to know

{notes}

## Again

    neurips16 train rfcn --preset small --data DATA
    neurips16 export rfcn --checkpoint runs/rfcn-small/{checkpoint} --repository serving/models --data DATA
{commands}

Settings of the network: `{settings}`
"""


if __name__ == "__main__":
    main()
