"""SoundNet's published weights in the two layouts in which they are passed on, checked name by name and shape by shape.

* a NumPy file of one dictionary, layer -> {weights, biases, gamma, beta, mean, var}, with kernels as [K, 1, in, out]
  and the heads named conv8 (objects) and conv8_2 (scenes);
* a PyTorch state dict with two-dimensional kernels [out, in, K, 1]: conv1.weight, batchnorm1.weight, …, with the heads
  conv8_objs and conv8_scns.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from neurips16.training.errors import CheckpointError
from neurips16.training.layers.soundnet_layers import TRUNKS
from neurips16.training.tensor_file import read_tensor_file

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}  # ours -> NumPy's
_CONV = {"weight": "weights", "bias": "biases"}
_COUNTER = "num_batches_tracked"  # of torch's normalisation: not published, and of no effect


def published_state(path: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The weights of the 8-layer network by our names, from either layout.

    Args:
        path: a NumPy file ends in ``.npy``, any other is a state dict.
        shapes: of our tensors, by our names.

    Raises:
        CheckpointError: the file is neither, or a tensor is missing, left over or of another shape.
    """
    if path.suffix == ".npy":
        return from_numpy(read_dictionary(path), shapes)
    content = read_tensor_file(path)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} is neither a checkpoint of ours nor a state dict (names to tensors)")
    return from_state_dict(content, shapes)


def numpy_keys() -> dict[str, tuple[str, str]]:
    """Our name of each tensor -> its layer and its name there, in the NumPy layout of the 8-layer network."""
    keys: dict[str, tuple[str, str]] = {}
    for number in range(1, len(TRUNKS[8]) + 1):
        block = f"trunk.blocks.{number - 1}"
        keys |= {f"{block}.conv.{ours}": (f"conv{number}", theirs) for ours, theirs in _CONV.items()}
        keys |= {f"{block}.norm.{ours}": (f"conv{number}", theirs) for ours, theirs in _NORM.items()}
    for head, layer in (("objects", "conv8"), ("scenes", "conv8_2")):
        keys |= {f"{head}.{ours}": (layer, theirs) for ours, theirs in _CONV.items()}
    return keys


def torch_keys() -> dict[str, str]:
    """Our name of each tensor -> its name in the state dict of the 8-layer network."""
    keys: dict[str, str] = {}
    for number in range(1, len(TRUNKS[8]) + 1):
        block = f"trunk.blocks.{number - 1}"
        keys |= {f"{block}.conv.{name}": f"conv{number}.{name}" for name in _CONV}
        keys |= {f"{block}.norm.{name}": f"batchnorm{number}.{name}" for name in _NORM}
    for head, layer in (("objects", "conv8_objs"), ("scenes", "conv8_scns")):
        keys |= {f"{head}.{name}": f"{layer}.{name}" for name in _CONV}
    return keys


def from_numpy(layers: Mapping[str, Mapping[str, np.ndarray]], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The weights from the NumPy layout.

    Raises:
        CheckpointError: every tensor that is missing, left over or of another shape is listed.
    """
    found = {(layer, name): np.asarray(value) for layer, values in layers.items() for name, value in values.items()}

    def ours(value: np.ndarray) -> Tensor:
        value = value.squeeze(1).transpose(2, 1, 0) if value.ndim == 4 and value.shape[1] == 1 else value
        return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))

    return _checked(numpy_keys(), {key: ours(value) for key, value in found.items()}, shapes, "/".join)


def from_state_dict(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The weights from the layout of a PyTorch state dict.

    Raises:
        CheckpointError: every tensor that is missing, left over or of another shape is listed.
    """
    found = {
        name: value.squeeze(-1) if value.dim() == 4 and value.shape[-1] == 1 else value
        for name, value in state.items()
        if not name.endswith(_COUNTER)
    }
    return _checked(torch_keys(), found, shapes, str)


def _checked(
    keys: Mapping[str, Any], found: Mapping[Any, Tensor], shapes: Mapping[str, torch.Size], shown: Any
) -> dict[str, Tensor]:
    problems = [f"{shown(key)} is left over" for key in found if key not in set(keys.values())]
    for name, key in keys.items():
        if key not in found:
            problems.append(f"{shown(key)} is missing")
        elif found[key].shape != shapes[name]:
            problems.append(f"{shown(key)} has shape {list(found[key].shape)}, expected {list(shapes[name])}")
    if problems:
        raise CheckpointError("these are not the weights of the 8-layer SoundNet: " + "; ".join(problems))
    return {name: found[key].to(torch.float32) for name, key in keys.items()}


def read_dictionary(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The dictionary in a ``.npy`` file, opened without running any code that it may hold.

    Raises:
        CheckpointError: the file is missing, or is no dictionary of dictionaries of arrays.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            if dtype != np.object_:
                raise ValueError(f"it holds an array of {dtype}, not a dictionary")
            content = _ArraysOnly(file).load()
    except Exception as error:  # an unpickler of a damaged file raises whatever its steps do, MemoryError included
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} cannot be read as a dictionary of arrays: {reason}") from error
    content = content.item() if isinstance(content, np.ndarray) and content.shape == shape == () else content
    nested = isinstance(content, dict) and all(
        isinstance(layer, dict) and all(isinstance(value, np.ndarray) for value in layer.values())
        for layer in content.values()
    )
    if not nested:
        raise CheckpointError(f"{path} is no dictionary of layers, each a dictionary of arrays")
    return content


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain values; anything else in the file is an error, not a call."""

    _ALLOWED = frozenset(
        (f"numpy.{home}.multiarray", name) for home in ("core", "_core") for name in ("_reconstruct", "scalar")
    ) | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")  # the published file was written by Python 2

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}, which no array needs")
        return super().find_class(module, name)
