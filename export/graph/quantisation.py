"""A file whose convolutions and products run on eight bits: ONNX Runtime's static quantisation, set by real inputs.

Weights become INT8, one scale for each output channel; what flows between becomes UINT8, in the range that it took on
the calibration inputs. The nodes stay as they are, between QuantizeLinear and DequantizeLinear, so any runtime runs the
file, and one with kernels of eight bits joins them. What it costs cannot be bounded output by output: the task's metric
is the gate. Function bodies, and what has no weights, stay FP32.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

from neurips16.export.errors import ExportError
from neurips16.export.session import ORT_ERRORS, make_session
from neurips16.export.spec import STORED_WEIGHTS, ModelSpec, embed_spec

Arrays = Mapping[str, np.ndarray]
QUANTISED = ("Conv", "Gemm", "MatMul")
_REFUSALS: tuple[type[Exception], ...] = (*ORT_ERRORS, ValueError)  # ValueError: no input was read


def quantise(source: Path, path: Path, spec: ModelSpec, calibration: Iterable[Arrays]) -> None:
    """Write the FP32 file ``source`` as the quantised file ``path``.

    Args:
        source: as `export_module` wrote it, with FP32 weights.
        path: where the file goes.
        spec: what ``source`` is; ``provenance`` in the new file says that its weights are INT8.
        calibration: inputs such as the model will get, by name, of any sizes; not those that it is measured on.

    Raises:
        ExportError: there is nothing in the file to quantise, there are no inputs, or ONNX Runtime cannot.
    """
    try:
        with _without_advice():
            quantize_static(
                source,
                path,
                _Inputs(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                reduce_range=True,  # products of two full bytes overflow 16 bits on processors without VNNI
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    except _REFUSALS as error:
        raise ExportError(f"{spec.name} cannot be quantised: {error}") from error
    model = onnx.load(path)
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ExportError(f"{spec.name} cannot be quantised: it has no {', '.join(QUANTISED)} with weights")
    embed_spec(model, dataclasses.replace(spec, provenance={**spec.provenance, STORED_WEIGHTS: "INT8"}))
    onnx.save(model, path)


class FileModule(nn.Module):
    """An exported file in the place of the torch module: the reference for whoever else runs the file."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        super().__init__()
        self._session = make_session(path)
        self._outputs = [tensor.name for tensor in spec.graph_outputs]

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """The file's outputs, by name."""
        found = self._session.run(self._outputs, {name: value.numpy() for name, value in inputs.items()})
        return {name: torch.from_numpy(value) for name, value in zip(self._outputs, found, strict=True)}


class _Inputs(CalibrationDataReader):
    """What ONNX Runtime reads calibration inputs through."""

    def __init__(self, inputs: Iterable[Arrays]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        found = next(self._inputs, None)
        return None if found is None else dict(found)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the quantiser's advice on preparing the file, which our exporter has done, off the terminal."""
    handler, root = logging.NullHandler(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
