"""Loss and gradient of linear networks as one ONNX graph.

Networks of any widths share it: each matrix lies in the upper left corner of a square of the largest width, and zeros
around it change no product; a chain of fewer than `LAYERS` matrices is followed by identities. Outside the export the
module asks the library, `training.systems.linear_landscape`.

The global minimum needs eigenvalues, and is left to who asks: Jacobi's rotations in a Loop were tried, and took 9 ms
for a matrix of 16 rows (4 rows 3 ms, 32 rows 21 ms, one thread) where NumPy takes 0.02 ms (0.007, 0.05).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.registry import ExportedModel
from neurips16.export.spec import ModelSpec, TensorSpec, Tolerance
from neurips16.training.systems.linear_landscape.network import gradient, loss

PAPER = "Deep Learning without Poor Local Minima (Kawaguchi, NIPS 2016), theorem 2.3"
MODEL = "linear_landscape"
MAX_BATCH_SIZE = 64
LAYERS = 8
PRODUCTS = Tolerance(1e-9, 1e-9, "FP64 sums of some thousand products in another order")


class LandscapeModel(nn.Module):
    """Data and weights to the loss surface at these weights."""

    def forward(self, x: Tensor, y: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """See `landscape_model` for shapes."""
        return _graph(x, y, weights) if torch.compiler.is_exporting() else _library(x, y, weights)


def _library(*tensors: Tensor) -> dict[str, Tensor]:
    rows = []
    for x, y, weights in zip(*(tensor.numpy() for tensor in tensors), strict=True):
        rows.append((np.array([loss(list(weights), x, y)]), np.stack(gradient(list(weights), x, y))))
    losses, slopes = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
    return {"loss": losses, "gradient": slopes}


def _graph(x: Tensor, y: Tensor, weights: Tensor) -> dict[str, Tensor]:
    layers = weights.unbind(1)
    before, after = [x], [layers[-1]]  # what comes into each matrix; what comes after, the last matrix first
    for matrix in layers[:-1]:
        before.append(matrix @ before[-1])
    for matrix in layers[-2:0:-1]:
        after.append(after[-1] @ matrix)
    error = layers[-1] @ before[-1] - y
    slopes = [
        left.transpose(1, 2) @ error @ right.transpose(1, 2) for left, right in zip(after[::-1], before, strict=False)
    ]
    slopes.append(error @ before[-1].transpose(1, 2))
    return {"loss": (error * error).sum((1, 2))[:, None] / 2, "gradient": torch.stack(slopes, 1)}


def landscape_model() -> ExportedModel:
    """The served landscape: nothing of it is trained."""
    inputs = (
        TensorSpec("x", "FP64", ("N", "D", "M"), "the data's inputs in columns, zeros below"),
        TensorSpec("y", "FP64", ("N", "D", "M"), "the data's outputs in columns, zeros below"),
        TensorSpec(
            "weights", "FP64", ("N", LAYERS, "D", "D"), "matrices in zeros, the first layer's first, then identities"
        ),
    )
    outputs = (
        TensorSpec("loss", "FP64", ("N", 1), "half the squared error", tolerance=PRODUCTS),
        TensorSpec(
            "gradient",
            "FP64",
            ("N", LAYERS, "D", "D"),
            "of each weight, also of zeros and identities",
            tolerance=PRODUCTS,
        ),
    )
    spec = ModelSpec(
        name=MODEL,
        system="linear_landscape",
        summary="Loss and gradient of linear networks, any widths in one batch.",
        inputs=inputs,
        outputs=outputs,
        max_batch_size=MAX_BATCH_SIZE,
        paper=PAPER,
    )
    cases = [_case(1, [4, 3, 2], 20, 0), _case(3, [5, 2, 4, 3], 30, 1), _case(2, [16, 8, 16], 60, 2)]
    example = {name: torch.from_numpy(value) for name, value in cases[1].items()}
    return ExportedModel(spec, LandscapeModel().eval(), example, cases)


def _case(networks: int, widths: list[int], columns: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = max(widths)
    x, y = np.zeros((2, networks, size, columns))
    weights = np.zeros((networks, LAYERS, size, size)) + np.eye(size)
    x[:, : widths[0]] = rng.normal(size=(networks, widths[0], columns))
    y[:, : widths[-1]] = rng.normal(size=(networks, widths[-1], columns)) + 0.5 * x[:, : widths[-1]]
    for k in range(len(widths) - 1):
        weights[:, k] = 0
        weights[:, k, : widths[k + 1], : widths[k]] = rng.normal(size=(networks, widths[k + 1], widths[k]))
    return {"x": x, "y": y, "weights": weights}
