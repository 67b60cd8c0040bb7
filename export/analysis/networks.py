"""Linear networks in files: torch checkpoints and ONNX graphs of matrix products, as matrices; and data for them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from neurips16.training.errors import InvalidModelError


def read_network(text: str, seed: int = 0) -> list[np.ndarray]:
    """The matrices [d_k, d_{k-1}] of a linear chain, the first layer's first.

    Args:
        text: a torch file of weights (.pt, .pth, .ckpt), an .onnx file, or widths to draw for: ``random:4,3,2``.
        seed: of drawn weights, normal with variance 1/width.

    Raises:
        InvalidModelError: the file holds something else than a chain of matrices; the text says what.
        CheckpointError: the torch file cannot be read, or holds more than tensors.
    """
    if text.startswith("random:"):
        words = text.removeprefix("random:").split(",")
        if len(words) < 2 or not all(word.strip().isdecimal() and int(word) for word in words):
            raise InvalidModelError(f"widths are numbers over 0 with commas, two at least: random:4,3,2; got {text!r}")
        widths, rng = [int(word) for word in words], np.random.default_rng(seed)
        return [rng.normal(0, a**-0.5, (b, a)) for a, b in pairwise(widths)]
    path = Path(text)
    return _from_onnx(path) if path.suffix == ".onnx" else _from_torch(path)


def read_data(path: Path, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """X [d_x, m] and Y [d_y, m] of an .npz file with ``x`` [m, d_x] and ``y`` [m, d_y], samples in rows.

    Without ``y``, or in an .npy file, the outputs are the inputs: an autoencoder.

    Raises:
        InvalidModelError: the file cannot be read, or holds no such arrays.
    """
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = {"x": found} if isinstance(found, np.ndarray) else dict(found)
    except (OSError, ValueError) as error:
        raise InvalidModelError(f"{path} cannot be read as .npz or .npy: {error}") from error
    if "x" not in arrays:
        raise InvalidModelError(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}: expected x, and y if it differs"
        )
    try:
        x, y = (np.asarray(arrays.get(name, arrays["x"]), np.float64) for name in ("x", "y"))
    except ValueError as error:
        raise InvalidModelError(f"{path}: x and y are arrays of numbers") from error
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InvalidModelError(f"{path}: x and y have a sample in each row, got {list(x.shape)} and {list(y.shape)}")
    if x.shape[1] != inputs:
        raise InvalidModelError(f"the network takes {inputs} values, x in {path} has {x.shape[1]}")
    return x.T, y.T


def _from_torch(path: Path) -> list[np.ndarray]:
    from neurips16.training.tensor_file import read_tensor_file

    found = read_tensor_file(path)
    state = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(state, dict) or not all(hasattr(value, "numpy") for value in state.values()):
        raise InvalidModelError(f"{path} holds no state dict: save module.state_dict() of a chain of Linear layers")
    for name, tensor in state.items():
        _refuse_bias(name, tensor.double().numpy()) if tensor.dim() == 1 else None
        if tensor.dim() not in (1, 2):
            raise InvalidModelError(f"{path}: {name} has {tensor.dim()} axes: a linear chain is made of matrices")
    return [tensor.double().numpy() for tensor in state.values() if tensor.dim() == 2]


def _from_onnx(path: Path) -> list[np.ndarray]:
    import onnx.numpy_helper

    from neurips16.export.spec import open_model

    try:
        graph = open_model(path).graph
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor, str(path.parent)) for tensor in graph.initializer}
    except (OSError, ValueError) as error:
        raise InvalidModelError(f"{path} cannot be read: {error}") from error
    inputs = [value.name for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise InvalidModelError(f"{path} takes {len(inputs)} inputs, a linear chain takes one")
    current, matrices = inputs[0], []
    for node in graph.node:
        if node.op_type in ("Identity", "Transpose", "Constant") and node.input and node.input[0] in stored:
            value = stored[node.input[0]]
            stored[node.output[0]] = value.T if node.op_type == "Transpose" else value
        elif node.op_type == "Identity" and node.input[0] == current:
            current = node.output[0]
        elif node.op_type in ("MatMul", "Gemm") and current in node.input[:2]:
            matrices.append(_matrix(node, current, stored))
            current = node.output[0]
        else:
            raise InvalidModelError(
                f"{path}: the graph uses {node.op_type} ({node.name or node.output[0]}): the theorem is for chains of "
                "MatMul and Gemm"
            )
    if current != graph.output[0].name or not matrices:
        raise InvalidModelError(f"{path}: the graph's output is not the end of one chain of matrix products")
    return matrices


def _matrix(node: object, current: str, stored: dict[str, np.ndarray]) -> np.ndarray:
    """Of ``y = x · Wᵀ``, with samples in rows, or of ``y = W · x``."""
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}  # type: ignore[attr-defined]
    names = list(node.input)  # type: ignore[attr-defined]
    first = names[0] == current
    other = names[1] if first else names[0]
    if other not in stored or stored[other].ndim != 2:
        raise InvalidModelError(f"{node.op_type} multiplies by {other}, which is no stored matrix")  # type: ignore[attr-defined]
    if attributes.get("transA" if first else "transB"):
        raise InvalidModelError("Gemm transposes what flows through: the chain is not linear in one orientation")
    if len(names) > 2 and names[2]:
        _refuse_bias(names[2], attributes.get("beta", 1.0) * stored.get(names[2], np.array([np.nan])))
    weight = stored[other].astype(np.float64) * attributes.get("alpha", 1.0)
    transposed = bool(attributes.get("transB" if first else "transA"))
    return weight if transposed == first else weight.T


def _refuse_bias(name: str, values: np.ndarray) -> None:
    if values.any():
        raise InvalidModelError(
            f"{name} is a bias, of which the theorem knows nothing: subtract the data's means and train without, or "
            "append a row of ones to the data"
        )
