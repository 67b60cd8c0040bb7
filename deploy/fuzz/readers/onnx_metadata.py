"""A model file: its ONNX, the files that it names, and its specification."""

from __future__ import annotations

from pathlib import Path

import onnx
from fuzz.harness import Harness
from fuzz.readers.spec_json import small_spec
from onnx import TensorProto, helper

from neurips16.export.spec import SpecError, embed_spec, read_spec


def small_model(location: str = "") -> onnx.ModelProto:
    """A model that carries a specification; ``location`` names a file of its weights."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["s_in"], ["s_out"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("x", "s_in")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("y", "s_out")],
    )
    if location:
        weights = graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[2])
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    embed_spec(model, small_spec())
    return model


def read(data: bytes, folder: Path) -> object:
    """As `neurips16 evaluate` and the server's start do."""
    path = folder / "model.onnx"
    path.write_bytes(data)
    return read_spec(path)


def seeds() -> list[bytes]:
    """Good ones, with and without files beside; cut off; none of ours."""
    good = small_model().SerializeToString()
    bare = small_model()
    del bare.metadata_props[:]
    elsewhere = [small_model(location).SerializeToString() for location in ("weights.bin", "../../etc/passwd", "a\0b")]
    return [good, *elsewhere, good[: len(good) // 2], bare.SerializeToString(), b""]


HARNESS = Harness(read, (SpecError,), seeds)
