"""Writes the cards of InfoGAN, disentangling and DGN-AM from recorded runs and from the models that ship.

    python deploy/cards/generators.py infogan --run runs/infogan-small --data ../shared/data/mnist
    python deploy/cards/generators.py disentangle --run runs/disentangle-small --data ../shared/data/mnist
    python deploy/cards/generators.py dgn_am --run runs/dgn_am-small --data ../shared/data/mnist

It measures the exported model (`evaluate.json`, with the command that made it), keeps the run's settings and metrics
(`run.json`, `metrics.csv`), draws the curves, has a server draw the pictures, and only then writes the text. What is
measured already is not measured again: delete its file to do so. `notes.md` of a card is a person's, and is taken in.
Digits of the data set do not become part of the project: pictures with them are drawn in `build/cards` to be looked at.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
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
from neurips16.clients.media.picture_grid import grid, write_animation, write_picture
from neurips16.clients.tasks.generate.calls import preferred_inputs, swap_grid, traversal
from neurips16.export.spec import read_spec
from neurips16.serving import TritonServer
from neurips16.training.data.mnist.reader import read_mnist

CURVES = {
    "infogan": {
        "losses": ["train_discriminator_loss", "train_generator_loss"],
        "information, nats": ["train_categorical_information", "train_uniform_information"],
        "categorical error (training images)": ["val_categorical_error"],
    },
    "disentangle": {
        "squared errors": ["train_swap", "val_reconstruction"],
        "divergence, nats": ["train_divergence"],
        "adversary": ["train_adversarial", "train_discriminator_loss"],
        "reader of the unspecified part": ["train_reader_loss"],
    },
    "dgn_am": {
        "classifier": ["train_classifier_loss", "val_classifier_error"],
        "generator": ["train_image_loss", "train_feature_loss"],
        "adversary": ["train_adversarial_loss", "train_discriminator_loss"],
    },
}
RUNNING_MEAN = 5


def main() -> None:
    """Measure what is not measured yet, draw, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=sorted(CURVES))
    parser.add_argument("--run", type=Path, required=True, help="the folder that `neurips16 train` left")
    parser.add_argument("--data", type=Path, required=True, help="MNIST")
    arguments = parser.parse_args()
    card = CARDS / arguments.system
    card.mkdir(parents=True, exist_ok=True)
    run = record_run(arguments.system, arguments.run, card)
    model = str(newest_model(arguments.system).relative_to(ROOT))
    record = measure(card / "evaluate.json", arguments.system, ["--model", model], arguments.data)
    with (
        TritonServer(MODELS, grpc_port=0, http_port=None, metrics_port=None) as server,
        Client(server.url) as client,
    ):
        DRAW[arguments.system](client, arguments.data, card)
    files = [path for path in MODELS.glob("*/*/model.onnx") if read_spec(path).system == arguments.system]
    text = TEXT[arguments.system].format(
        **{name: _shown(value) for name, value in record["metrics"].items()},
        size=f"{sum(path.stat().st_size for path in files) / 2**20:.1f}",
        settings=json.dumps(run["model"]),
        batches=run["batches"],
        threads=run["threads"],
        command=record["command"],
        notes=notes(card),
        again=AGAIN.format(
            system=arguments.system,
            more=MORE.get(arguments.system, ""),
            checkpoint=run["checkpoint"],
            command=record["command"],
        ),
    )
    (card / "README.md").write_text(text)
    print(f"wrote {card / 'README.md'}")  # noqa: T201


def record_run(system: str, run: Path, card: Path) -> dict:
    """Keep the run's settings as ``run.json`` and its metrics as ``metrics.csv``, and draw ``curve.png``."""
    found = read_run(run)
    rows = found.rows
    write_rows(card / "metrics.csv", ["epoch", "step", *(n for panel in CURVES[system].values() for n in panel)], rows)
    epoch = read_spec(newest_model(system)).provenance["epoch"]  # of what was exported
    kept = found.settings(
        checkpoint=f"epoch{epoch:03d}.ckpt", batches=(epoch + 1) * found.config["data"]["batches_per_epoch"]
    )
    write_json(card / "run.json", kept)
    figure, panels = plt.subplots(1, len(CURVES[system]), figsize=(12, 3), constrained_layout=True)
    for axes, (title, lines) in zip(panels, CURVES[system].items(), strict=True):
        for name in lines:
            steps, values = points(rows, name, mean_over=1 if name.startswith("val_") else RUNNING_MEAN)
            if steps:
                axes.plot(steps, values, label=name.removeprefix("train_"))
        axes.set(xlabel="optimiser step", title=title)
    finish(figure, card / "curve.png", dpi=100)
    return kept


def draw_infogan(client: Client, data: Path, card: Path) -> None:
    """Every category with ten seeds, and a traversal of each continuous code."""
    rows = np.repeat(np.arange(10), 10)[:, None]
    write_picture(card / "categories.png", grid(client.generate(category=rows, seed=0), 10), scale=2)
    for code in range(client.model_config("infogan").inputs[1].dims[0]):
        images = client.run(traversal("infogan", code, category=None, continuous=None, steps=11, seed=0))
        write_picture(card / f"continuous{code}.png", grid(images, 11), scale=2)


def draw_disentangle(client: Client, data: Path, card: Path) -> None:
    """Swaps between digits of every class and an interpolation: generated digits for the card, real ones to look at."""
    test = read_mnist(data, "test")
    real = [np.stack([test.images[np.flatnonzero(test.labels == digit)[k]] for digit in range(10)]) for k in (0, 1)]
    made = [client.generate(category=np.arange(10)[:, None], seed=seed) for seed in (70, 7)]
    for (content, styles), folder in ((made, card), (real, BUILD / "disentangle")):
        folder.mkdir(parents=True, exist_ok=True)
        swapped = client.run(swap_grid(styles, content))
        shown = [np.zeros_like(content[0]), *content]
        for image, row in zip(styles, swapped, strict=True):
            shown += [image, *row]
        write_picture(folder / "swaps.png", grid(np.stack(shown), 11), scale=2)
        between = client.interpolate(content[2], styles[7], steps=8)
        write_picture(folder / "interpolation.png", grid(between.reshape(-1, *between.shape[2:]), 8), scale=2)


def draw_dgn_am(client: Client, data: Path, card: Path) -> None:
    """The preferred inputs of all units from four seeds, and how they come about; beside real digits to look at."""
    test = read_mnist(data, "test")
    found = [client.run(preferred_inputs(range(10), steps=200, seed=seed, step_size=None)) for seed in range(4)]
    real = [test.images[np.flatnonzero(test.labels == digit)[0]] for digit in range(10)]
    images = [one.image for row in found for one in row]
    write_picture(card / "preferred.png", grid(np.stack(images), 10), scale=2)
    (BUILD / "dgn_am").mkdir(parents=True, exist_ok=True)
    write_picture(BUILD / "dgn_am/preferred.png", grid(np.stack([*images, *real]), 10), scale=2)
    write_picture(card / "ascent.png", grid(np.concatenate([one.frames for one in found[0]]), 17), scale=2)
    frames = np.stack([one.frames for one in found[0]], 1)
    write_animation(card / "ascent.gif", [grid(frame, 5) for frame in frames], scale=2)
    figure, axes = plt.subplots(figsize=(6, 3), constrained_layout=True)
    for one in found[0]:
        (line,) = axes.plot(one.activations, label=str(one.unit))
        axes.axhline(one.real_activation, color=line.get_color(), linewidth=0.5, linestyle="--")
    axes.set(xlabel="step", ylabel="activation", title="dashed: mean over real images of the class")
    axes.legend(frameon=False, ncols=2, title="unit")
    finish(figure, card / "activations.png", dpi=100)


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


DRAW = {"infogan": draw_infogan, "disentangle": draw_disentangle, "dgn_am": draw_dgn_am}
MORE = {  # what the run was continued with
    "infogan": """    neurips16 train infogan --preset small --data DATA --trainer.max_epochs 12 \\
        --model.agreement_weight 1
"""
}
AGAIN = """    neurips16 train {system} --preset small --data DATA
{more}    neurips16 export {system} --checkpoint runs/{system}-small/{checkpoint} --data DATA \\
        --repository serving/models
    {command}"""
TEXT = {
    "infogan": """# InfoGAN on MNIST: infogan, infogan_encoder

Written by `python deploy/cards/generators.py infogan` from the files beside this one.

**What.** Latent codes to an image of a digit, and an image to its codes (Chen et al., *InfoGAN*, NIPS 2016): one
categorical code of ten, two continuous ones and 62 noise numbers, in the networks of the paper's appendix C.1. The
export brought the one large matrix of each to a low rank (`exported_ranks` in `run.json`): both models together have
{size} MB, 26 MB without it.

**Data.** MNIST (LeCun, Cortes, Burges), 60,000 training images; the labels are not used in training. They are used
once, at the export, to put the categories into the order of the digits.

**Run.** {batches} updates of 128 images on {threads} CPU thread; settings in `run.json`. Weights are stored as FP16.

![curves](curve.png)

## Results

| | categorical error on {images} test images |
|---|---|
| this model | {categorical_error} |
| the paper | 0.05 |

The categories are assigned to digits one to one, as is best on {assigned_on} training images.

Every category (rows) with ten seeds: ![categories](categories.png)

The two continuous codes from -2 to 2 (trained from -1 to 1), one category a row:

![first code](continuous0.png) ![second code](continuous1.png)

## What to know

{notes}

## Again

{again}
""",
    "disentangle": """# Disentangled class and style of MNIST: disentangle, disentangle_decoder

Written by `python deploy/cards/generators.py disentangle` from the files beside this one.

**What.** Two images to the class of one in the style of the other (Mathieu et al., *Disentangling factors of variation
in deep representations using adversarial training*, NIPS 2016), the published networks for MNIST in full: 16 numbers
for the class, 16 for all else. {size} MB.

**Data.** MNIST (LeCun, Cortes, Burges), 60,000 training images with their labels.

**Run.** {batches} batches of 16 triples on {threads} CPU thread; settings in `run.json`. Weights are stored as FP16.

![curves](curve.png)

## Results on {images} test images

| | error |
|---|---|
| class read from the specified part | {specified_error} |
| class read from a sample of the unspecified part (chance: 0.9) | {unspecified_sample_error} |
| class read from the mean of the unspecified part (chance: 0.9) | {unspecified_error} |
| swapped images that an independent classifier does not name as the class they were given | {swap_error} |
| that classifier's own error on real images | {judge_error} |

The reader of the parts is the paper's: a perceptron with 256 hidden units. The paper states no figures for MNIST that
we could verify.

Swaps: the class of the top row in the style of the left column, both drawn by the shipped InfoGAN, whose digits the
network was not trained on. ![swaps](swaps.png)

From one image to another, style along the columns and class along the rows: ![interpolation](interpolation.png)

## What to know

{notes}

## Again

{again}
""",
    "dgn_am": """# Preferred inputs of a digit classifier: dgn_am

Written by `python deploy/cards/generators.py dgn_am` from the files beside this one.

**What.** The image that a class's unit of a classifier prefers, by ascent in the code space of a generator (Nguyen et
al., *Synthesizing the preferred inputs for neurons in neural networks via deep generator networks*, NIPS 2016). The
whole ascent, gradients included, is one ONNX graph of {size} MB with a Loop.

**Data.** MNIST (LeCun, Cortes, Burges). The classifier, its generator and the discriminator were trained on the 60,000
training images.

**Run.** {batches} batches of 64 on {threads} CPU thread; settings in `run.json`. Weights are stored as FP16.

![curves](curve.png)

## Results ({ascents} ascents of 200 steps)

| | |
|---|---|
| mean activation at the start | {start_activation} |
| mean activation of preferred inputs | {preferred_activation} |
| mean activation of real images of the class | {real_activation} |
| least rise of a unit above real images, in their standard deviations | {least_excess} |
| preferred inputs that an independent classifier names as the class | {judged_right} |

The paper's results are qualitative. Its step, clipping range and decay are kept; its encoder is AlexNet.

Preferred inputs of the ten units from four seeds (rows):

![preferred inputs](preferred.png)

How they come about, one unit a row: ![ascent](ascent.png) ![activations](activations.png)

## What to know

{notes}

## Again

{again}
""",
}


if __name__ == "__main__":
    main()
