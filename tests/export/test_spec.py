from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import helper

from neurips16.export.errors import ExportError
from neurips16.export.spec import (
    EXACT,
    METADATA_KEY,
    ExternalDataError,
    MetricGate,
    ModelSpec,
    Op,
    SpecError,
    StateSpec,
    TensorSpec,
    Tolerance,
    embed_spec,
    open_model,
    read_spec,
)

CLOSE = Tolerance(1e-4, 1e-5, "sums")


def full_spec(**changes: object) -> ModelSpec:
    """A specification that uses every field."""
    spec = ModelSpec(
        name="recogniser-2.1",
        system="speech",
        summary="Hört zu.",
        inputs=(
            TensorSpec("audio", "FP32", ("N", "T"), "mono", range=(-1.0, 1.0)),
            TensorSpec("hint", "BYTES", ("N", 1), "optional text", optional=True),
        ),
        outputs=(TensorSpec("probabilities", "FP32", ("N", 3), "of the classes", tolerance=CLOSE),),
        max_batch_size=4,
        paper="A paper, section 2",
        opset=18,
        ir_version=9,
        states=(StateSpec("state_a_in", "state_a_out", "FP32", (7,), CLOSE, 0.5),),
        labels={"probabilities": ("ja", "nein", "Brücke")},
        parameters={"sample_rate_hz": "16000"},
        metrics=(MetricGate("accuracy", 0.01, "rounding"), MetricGate("rank", 0.5, "ties", lower_is_better=True)),
        custom_ops=(Op("neurips16", "PSRoIPool"),),
        provenance={"data": ["a", "b"], "epochs": 3},
    )
    return dataclasses.replace(spec, **changes)


def test_json_is_read_back_as_it_was() -> None:
    spec = full_spec()
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert "Brücke" in spec.to_json()


def test_a_specification_travels_in_the_onnx_file(tmp_path) -> None:
    graph = helper.make_graph([], "empty", [], [])
    model = helper.make_model(graph)
    model.metadata_props.add(key="other", value="kept")
    embed_spec(model, full_spec(summary="old"))
    embed_spec(model, full_spec())
    onnx.save(model, tmp_path / "model.onnx")
    assert read_spec(tmp_path / "model.onnx") == full_spec()
    kept = onnx.load(tmp_path / "model.onnx").metadata_props
    assert [p.key for p in kept] == ["other", METADATA_KEY]


def test_graph_tensors_are_the_public_ones_and_the_states() -> None:
    spec = full_spec()
    assert [t.name for t in spec.graph_inputs] == ["audio", "hint", "state_a_in"]
    assert [t.name for t in spec.graph_outputs] == ["probabilities", "state_a_out"]
    assert spec.graph_outputs[-1].dims == ("N", 7)
    assert spec.graph_outputs[-1].tolerance == CLOSE


def test_files_without_a_specification_are_refused(tmp_path) -> None:
    onnx.save(helper.make_model(helper.make_graph([], "empty", [], [])), tmp_path / "foreign.onnx")
    with pytest.raises(SpecError, match=r"foreign\.onnx carries no .* `neurips16 export`"):
        read_spec(tmp_path / "foreign.onnx")
    (tmp_path / "text.onnx").write_bytes(b"\xff\xff no model")
    with pytest.raises(SpecError, match="is not an ONNX file"):
        read_spec(tmp_path / "text.onnx")


def keeps_weights_in(location: str, where: str = "initializer") -> onnx.ModelProto:
    """A model one of whose tensors is said to lie in another file."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    if where == "initializer":
        return helper.make_model(helper.make_graph([], "g", [], [], initializer=[tensor]))
    if where == "function":
        body = helper.make_function("ours", "F", [], ["c"], [constant], [helper.make_opsetid("", 17)])
        return helper.make_model(helper.make_graph([], "g", [], []), functions=[body])
    branch = helper.make_graph([constant], "branch", [], [])
    node = helper.make_node("If", ["yes"], [], then_branch=branch, else_branch=branch)
    return helper.make_model(helper.make_graph([node], "g", [], []))


@pytest.mark.parametrize("where", ["initializer", "function", "branch"])
def test_weights_come_from_the_model_s_own_folder(tmp_path, where) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "here").symlink_to(folder / "sub")
    path = folder / "model.onnx"
    for location in ("../secret", str(tmp_path / "secret"), "link", "sub/../../secret", "here/../../secret"):
        onnx.save(keeps_weights_in(location, where), path)
        with pytest.raises(ExternalDataError, match=r"model\.onnx keeps weights in .* out of its folder") as caught:
            read_spec(path)
        assert location in str(caught.value)
    for location in ("weights", "sub/weights", "here/weights", "sub/../weights"):
        path.write_bytes(keeps_weights_in(location, where).SerializeToString())
        assert open_model(path).graph.name == "g"


def test_spec_error_belongs_to_the_tree() -> None:
    assert issubclass(SpecError, ExportError)
    assert SpecError.exit_status == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "expected an object"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "lacks a field"),
    ],
)
def test_damaged_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_json(text)


def test_an_unknown_field_is_refused() -> None:
    raw = {**json.loads(full_spec().to_json()), "colour": "red"}
    with pytest.raises(SpecError, match="colour"):
        ModelSpec.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../etc"}, "becomes a folder"),
        ({"name": ".hidden"}, "becomes a folder"),
        ({"max_batch_size": -1}, "at least 0"),
        ({"max_batch_size": 0}, "must not start with 'N'"),
        ({"instances": 0}, "instances is at least 1"),
        ({"outputs": ()}, "declares no output"),
        ({"outputs": (TensorSpec("audio", "FP32", ("N", 3), "", tolerance=CLOSE),)}, "names repeat"),
        ({"outputs": (TensorSpec("probabilities", "FP32", ("N", 3), ""),)}, "needs a tolerance"),
        ({"outputs": (TensorSpec("probabilities", "FP32", ("N",), "", tolerance=CLOSE),)}, "give it an axis"),
        ({"outputs": (TensorSpec("probabilities", "FP32", (3, 3), "", tolerance=CLOSE),)}, "must start with 'N'"),
        ({"labels": {"logits": ("a",)}}, "is no output"),
        ({"labels": {"probabilities": ("a", "b")}}, "counts 3 classes, got 2 labels"),
        ({"labels": {"probabilities": ("a", "b", "c\nd")}}, "longer than a line"),
        (
            {
                "states": (
                    StateSpec("a_in", "z_out", "FP32", (1,), CLOSE),
                    StateSpec("b_in", "b_out", "FP32", (1,), CLOSE),
                )
            },
            "sort in the same order",
        ),
    ],
)
def test_contradictions_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        full_spec(**changes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tolerance(1e-3, 1e-3, "  "),
        lambda: Tolerance(-1e-3, 0, "why"),
        lambda: Tolerance(float("nan"), 0, "why"),
        lambda: Tolerance(0, float("inf"), "why"),
        lambda: Tolerance(1.0, 0, "a gate that lets a zero through"),
        lambda: MetricGate("accuracy", float("nan"), "why"),
        lambda: MetricGate("accuracy", 0.1, ""),
        lambda: TensorSpec("two words", "FP32", ("N", 1), ""),
        lambda: TensorSpec("x", "FP31", ("N", 1), ""),
        lambda: TensorSpec("x", "FP32", ("N", 0), ""),
        lambda: TensorSpec("x", "FP32", ("N", "2d"), ""),
    ],
)
def test_parts_check_themselves(make) -> None:
    with pytest.raises(SpecError):
        make()


@pytest.mark.parametrize("value", [object(), float("nan"), np.float32(1)])
def test_provenance_must_be_json(value: object) -> None:
    with pytest.raises(SpecError, match="cannot be written as JSON"):
        full_spec(provenance={"x": value}).to_json()


def test_numpy_dtype() -> None:
    assert TensorSpec("x", "UINT8", ("N", 1), "", tolerance=EXACT).numpy_dtype == np.uint8
