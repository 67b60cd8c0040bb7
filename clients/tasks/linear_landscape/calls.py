"""Where a linear network stands: loss and gradient from the server, the global minimum from the data here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.errors import InvalidInputError, UnexpectedReplyError
from neurips16.clients.protocol.operation import Operation

MODEL = "linear_landscape"


@dataclass(frozen=True)
class LinearLandscape:
    """A point of the loss surface: half the squared error, its least value, and the derivatives of each matrix."""

    loss: float
    least_loss: float
    gradient: list[np.ndarray]


def linear_landscape(weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> Operation[LinearLandscape]:
    """Loss, gradient and global minimum of a chain of matrices.

    Args:
        weights: [d_k, d_{k-1}], the first layer's first.
        x: [m, d_0], a sample in each row.
        y: [m, d_K].

    Raises:
        InvalidInputError: the shapes do not fit, a number is infinite or none, or the chain is too long.
        UnexpectedReplyError: the server's model is another.
    """
    try:
        *chain, x, y = (np.asarray(array, np.float64) for array in (*weights, x, y))
    except (TypeError, ValueError) as error:
        raise InvalidInputError("weights and data are matrices of numbers") from error
    shapes = [list(array.shape) for array in (*chain, x, y)]
    if not chain or any(array.ndim != 2 or not array.size for array in (*chain, x, y)):
        raise InvalidInputError(f"weights and data are matrices, got shapes {shapes}")
    widths = [x.shape[1], *(len(w) for w in chain)]
    if [w.shape[1] for w in chain] != widths[:-1] or y.shape != (len(x), widths[-1]):
        raise InvalidInputError(f"the shapes do not fit one another: {shapes}")
    if not all(np.isfinite(array).all() for array in (*chain, x, y)):
        raise InvalidInputError("weights or data hold a number that is infinite or none")
    (config,) = yield [messages.model_config(MODEL)]
    dims = {tensor.name: tensor.dims for tensor in config.inputs}.get("weights", ())
    if len(dims) != 3 or not isinstance(dims[0], int):
        raise UnexpectedReplyError(f"model {MODEL!r} takes no chain of matrices: it is another")
    layers, size = dims[0], max(widths)
    if len(chain) > layers:
        raise InvalidInputError(f"the model takes {layers} matrices at most, got {len(chain)}")
    inputs = {"x": np.zeros((1, size, len(x))), "y": np.zeros((1, size, len(x)))}
    inputs["x"][0, : widths[0]], inputs["y"][0, : widths[-1]] = x.T, y.T
    inputs["weights"] = np.zeros((1, layers, size, size)) + np.eye(size)
    for k, weight in enumerate(chain):
        inputs["weights"][0, k] = 0
        inputs["weights"][0, k, : weight.shape[0], : weight.shape[1]] = weight
    (answer,) = yield [messages.infer(MODEL, inputs)]
    if not {"loss", "gradient"} <= set(answer) or answer["gradient"].shape != inputs["weights"].shape:
        raise UnexpectedReplyError(f"model {MODEL!r} did not answer with loss and gradient")
    slopes = [answer["gradient"][0, k, : w.shape[0], : w.shape[1]] for k, w in enumerate(chain)]
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    values = np.linalg.svd(fitted, compute_uv=False)[: min(widths)] ** 2
    return LinearLandscape(float(answer["loss"][0, 0]), max(0.0, float((y**2).sum() - values.sum()) / 2), slopes)
