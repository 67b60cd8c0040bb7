"""DGN-AM as one ONNX graph: the whole ascent, with the gradient of each step in the graph and a Loop around it.

In torch the same module follows autograd (`DGNAM.ascend`), row by row; in the graph it follows `export.gradient` in a
Loop over the batch, whose rows may ask for different units, numbers of steps, step sizes and seeds. So the parity gate
holds whole trajectories of the written gradient against autograd's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from neurips16.export.graph.gradient import Centre, check_layers, run_backward, run_forward
from neurips16.export.graph.pixels import to_bytes
from neurips16.export.graph.seeded_noise import normal, seed_input
from neurips16.export.options import positive_integer
from neurips16.export.registry import ExportedModel, SystemExport, Target, range_parameters
from neurips16.export.spec import MetricGate, ModelSpec, TensorSpec, Tolerance
from neurips16.export.station import open_station
from neurips16.training.data.mnist.reader import read_mnist
from neurips16.training.metrics.judge import Judge
from neurips16.training.system import CHECKPOINT_KEY, load_module, read_checkpoint
from neurips16.training.systems.dgn_am.network import DGNAM

PAPER = (
    "Synthesizing the preferred inputs for neurons in neural networks via deep generator networks "
    "(Nguyen et al., NIPS 2016), section 2"
)
MODEL = "dgn_am"
MAX_BATCH_SIZE = 16
MAX_STEPS = 400  # twice the paper's; it bounds what one request can cost
FRAMES = 17  # pictures along the way: the first, the last, and every sixteenth part between
MAX_STEP_SIZE = 100.0
OPTIONS = {"seeds": "ascents for each unit (default 4)", "steps": "of each ascent (default 200)"}
PREFERRED = MetricGate(
    "preferred_activation", 0.5, "weights rounded to FP16 lead the ascent to another place on the same hill"
)
ALONG = Tolerance(
    2e-2,
    5e-2,
    "hundreds of normalised steps carry differences of rounding on; where a ReLU switches, two trajectories part "
    "and meet again near the same maximum",
)
DRAWN = Tolerance(0.0, 24.0, "pixels at the end of such a trajectory, of 255")


class AscentModel(nn.Module):
    """Units and seeds to the images that the units prefer."""

    def __init__(self, network: DGNAM):
        super().__init__()
        self.network = network
        h, classifier = network.hparams, network.classifier
        self.from_codes = nn.ModuleList([*network.generator, Centre(h.image_shape[1])])
        self.from_images = nn.ModuleList(
            [Centre(h.encoder_side or h.image_shape[1]), *classifier.features, *classifier.code, *classifier.head]
        )
        check_layers([*self.from_codes, *self.from_images])

    def forward(self, unit: Tensor, steps: Tensor, step_size: Tensor, seed: Tensor) -> dict[str, Tensor]:
        """``unit``, ``steps`` and ``seed`` int64 [N, 1], ``step_size`` float32 [N, 1], to the outputs."""
        unit = unit.clamp(0, self.network.hparams.classes - 1)
        steps = steps.clamp(1, MAX_STEPS)
        step_size = step_size.clamp(0.0, MAX_STEP_SIZE)
        start = normal(seed, len(self.network.code_limit))
        due = torch.arange(FRAMES) * steps // (FRAMES - 1)  # [N, F]: steps made before each frame
        if torch.compiler.is_exporting():
            frames, trace = self._loop(start, unit, steps, step_size, due)
        else:
            frames, trace = self._autograd(start, unit, steps, step_size, due)
        return {"image": frames[:, -1], "frames": frames, "activations": trace}

    def _loop(
        self, start: Tensor, unit: Tensor, steps: Tensor, step_size: Tensor, due: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The ascent as a loop over the batch; a row that has made its steps stays where it is."""
        chosen = (unit == torch.arange(self.network.hparams.classes)).to(torch.float32)  # [N, U]
        places = torch.arange(MAX_STEPS + 1)

        def going(i: Tensor, codes: Tensor, frames: Tensor, trace: Tensor) -> Tensor:
            return i < steps.max()

        def climb(i: Tensor, codes: Tensor, frames: Tensor, trace: Tensor) -> tuple[Tensor, ...]:
            made = run_forward(self.from_codes, codes)
            read = run_forward(self.from_images, made[-1])
            activation = (read[-1] * chosen).sum(1, keepdim=True)
            gradient = run_backward(self.from_codes, made, run_backward(self.from_images, read, chosen))
            shrunk = step_size * (1.0 - i.to(torch.float32) / steps.to(torch.float32))
            stepped = self.network.step(codes, gradient, shrunk.squeeze(1))
            frames = torch.where((due == i)[:, :, None, None, None], to_bytes(made[-1])[:, None], frames)
            trace = torch.where(places == i, activation, trace)
            return i + 1, torch.where(i < steps, stepped, codes), frames, trace

        nothing = to_bytes(run_forward(self.from_codes, start)[-1])[:, None]
        begin = (
            torch.zeros((), dtype=torch.int64),
            start,
            nothing.expand(-1, FRAMES, -1, -1, -1).clone(),
            torch.zeros_like(start[:, :1]).expand(-1, MAX_STEPS + 1).clone(),
        )
        _, codes, frames, trace = while_loop(going, climb, begin)
        images = run_forward(self.from_codes, codes)[-1]
        last = (run_forward(self.from_images, images)[-1] * chosen).sum(1, keepdim=True)
        frames = torch.where((due == steps)[:, :, None, None, None], to_bytes(images)[:, None], frames)
        return frames, torch.where(places >= steps, last, trace)

    def _autograd(
        self, start: Tensor, unit: Tensor, steps: Tensor, step_size: Tensor, due: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same, by `DGNAM.ascend`."""
        frames, traces = [], []
        for row in range(len(start)):
            count = int(steps[row])
            ascent = self.network.ascend(start[row : row + 1], unit[row], steps=count, step_size=float(step_size[row]))
            frames.append(to_bytes(self.network.generate(ascent.codes[0, due[row]])))
            traces.append(torch.cat([ascent.activations[0], ascent.activations[0, -1:].expand(MAX_STEPS - count)]))
        return torch.stack(frames), torch.stack(traces)


def models(checkpoint: Path, data: Path | None) -> list[ExportedModel]:
    """The model of a checkpoint.

    Args:
        checkpoint: of `neurips16 train dgn_am`, past its classifier.
        data: not needed: the inputs are numbers.
    """
    network = load_module(checkpoint, "dgn_am")
    assert isinstance(network, DGNAM)
    h = network.hparams
    channels, height, width = h.image_shape
    inputs = (
        TensorSpec("unit", "INT64", ("N", 1), "of the classifier's last layer: a class", range=(0, h.classes - 1)),
        TensorSpec("steps", "INT64", ("N", 1), "of the ascent", range=(1, MAX_STEPS)),
        TensorSpec(
            "step_size",
            "FP32",
            ("N", 1),
            "length of the first step, as a mean over the code; it falls to zero linearly",
            range=(0.0, MAX_STEP_SIZE),
        ),
        seed_input(),
    )
    outputs = (
        TensorSpec("image", "UINT8", ("N", height, width, channels), "after the last step", tolerance=DRAWN),
        TensorSpec(
            "frames",
            "UINT8",
            ("N", FRAMES, height, width, channels),
            f"frame k is the picture after k·steps // {FRAMES - 1} steps",
            tolerance=DRAWN,
        ),
        TensorSpec(
            "activations",
            "FP32",
            ("N", MAX_STEPS + 1),
            "the unit's before the first step and after each; after the last step it is repeated",
            tolerance=ALONG,
        ),
    )
    spec = ModelSpec(
        name=MODEL,
        system="dgn_am",
        summary="Makes the image that a unit of a classifier prefers, by ascent in a generator's code space.",
        inputs=inputs,
        outputs=outputs,
        max_batch_size=MAX_BATCH_SIZE,
        paper=PAPER,
        parameters={
            **range_parameters(inputs),
            "step_size": f"{h.step_size:.10g}",
            "real_activations": " ".join(f"{value:.6g}" for value in network.real_activation.tolist()),
            "real_deviations": " ".join(f"{value:.6g}" for value in network.real_deviation.tolist()),
        },
        metrics=(PREFERRED,),
        provenance=dict(read_checkpoint(checkpoint)[CHECKPOINT_KEY]),
    )
    rng = np.random.default_rng(2)
    cases = [
        {
            "unit": rng.integers(0, h.classes, (n, 1)),
            "steps": np.array([[k] for k in steps]),
            "step_size": np.full((n, 1), h.step_size, np.float32),
            "seed": rng.integers(0, 1000, (n, 1)),
        }
        for n, steps in ((1, [200]), (3, [1, 20, 60]), (2, [30, 7]))
    ]
    example = {name: torch.from_numpy(value) for name, value in cases[1].items()}
    return [ExportedModel(spec, AscentModel(network).eval(), example, cases, fp16_weights=True)]


def evaluate(target: Target, data: Path, split: str, options: Mapping[str, str]) -> dict[str, float]:
    """How far preferred inputs raise their units, and whether another classifier takes them for their class.

    Args:
        target: a checkpoint, an exported file or a server.
        data: the data set, whose training images teach the other classifier, see `Judge`.
        split: of no influence: nothing of the test images is needed.
        options: see `OPTIONS`.

    Returns:
        Means over units and seeds: ``start_activation``, ``preferred_activation``; over the units:
        ``real_activation`` of real images of the class, ``least_excess``, the smallest rise above that mean in standard
        deviations of real images; ``judged_right``, the share that the other classifier names as the unit's class.

    Raises:
        EvaluationError: the target is a baseline, or an option cannot be used.
    """
    seeds, steps = positive_integer(options, "seeds", 4), positive_integer(options, "steps", 200)
    with open_station(target, "dgn_am", MODEL, models) as model:
        real, std = (np.array(model.number_list(name)) for name in ("real_activations", "real_deviations"))
        units = np.repeat(np.arange(len(real)), seeds)
        answer = model.rows(
            unit=units[:, None],
            steps=np.full((len(units), 1), steps),
            step_size=np.full((len(units), 1), model.number_list("step_size")[0], np.float32),
            seed=np.tile(np.arange(seeds), len(real))[:, None],
        )
    reached = answer["activations"][:, steps]
    excess = (reached - real[units]) / std[units]
    judge = Judge.fit(read_mnist(data, "train"))
    return {
        "ascents": len(units),
        "start_activation": float(answer["activations"][:, 0].mean()),
        "preferred_activation": float(reached.mean()),
        "real_activation": float(real.mean()),
        "least_excess": float(excess.reshape(len(real), seeds).mean(1).min()),
        "judged_right": float((judge.classes(answer["image"]) == units).mean()),
    }


EXPORT = SystemExport("dgn_am", evaluate, models, OPTIONS, quick_options={"seeds": "2", "steps": "50"})
