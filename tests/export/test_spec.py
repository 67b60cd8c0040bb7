from __future__ import annotations

import dataclasses
import json
import math
import os

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
    for file in ("weights", "sub/weights"):
        (folder / file).write_bytes(bytes(16))
    (folder / "beside").symlink_to("sub/weights")
    for location in ("weights", "sub/weights", "here/weights", "sub/../weights", "beside"):
        path.write_bytes(keeps_weights_in(location, where).SerializeToString())
        assert open_model(path).graph.name == "g"


@pytest.mark.parametrize(
    "location", ["*/_ORT_MEM_ADDR_/*", "", "absent", ".", "sub", "pipe", "loop", "a" * 300, "nul\0"], ids=repr
)
def test_weights_are_in_a_file(tmp_path, location) -> None:
    """Not at an address in the memory of the server, which older releases of ONNX Runtime take from a file."""
    (tmp_path / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (tmp_path / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(16))
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "model.onnx").write_bytes(keeps_weights_in(location).SerializeToString())
    with pytest.raises(ExternalDataError, match="keeps weights in"):
        open_model(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "more",
    [
        {"offset": "17"},
        {"offset": "8", "length": "9"},
        {"offset": "-1"},
        {"length": "-1"},
        {"offset": "18446744073709551600"},
        {"offset": "1e3"},
        {"location": "weights", "length": "²"},
    ],
    ids=str,
)
def test_weights_are_within_their_file(tmp_path, more) -> None:
    (tmp_path / "weights").write_bytes(bytes(16))
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": "weights", **more}.items():
        tensor.external_data.add(key=key, value=value)
    model = helper.make_model(helper.make_graph([], "g", [], [], initializer=[tensor]))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExternalDataError, match=r"offset .* 'weights', which has 16 bytes"):
        open_model(tmp_path / "model.onnx")


def test_a_tensor_says_once_where_it_is(tmp_path) -> None:
    (tmp_path / "weights").write_bytes(bytes(16))
    model = keeps_weights_in("../secret")
    model.graph.initializer[0].external_data.add(key="location", value="weights")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExternalDataError, match="says twice"):
        open_model(tmp_path / "model.onnx")


def test_what_is_more_than_a_model_is_refused(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    options = helper.make_model(helper.make_graph([], "g", [], []))
    options.metadata_props.add(key="ort_config", value='{"session_options": {}}')
    branch = helper.make_graph([helper.make_node("EPContext", [], ["y"], domain="com.microsoft")], "branch", [], [])
    node = helper.make_node("If", ["yes"], [], then_branch=branch, else_branch=branch)
    compiled = helper.make_model(helper.make_graph([node], "g", [], []))
    for model, word in ((options, "session options"), (compiled, "compiled program")):
        path.write_bytes(model.SerializeToString())
        with pytest.raises(SpecError, match=word):
            open_model(path)


def test_what_is_no_regular_file_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "device.onnx").symlink_to("/dev/zero")
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    with (tmp_path / "endless.onnx").open("wb") as file:
        file.truncate(1 << 40)
    for name in ("pipe", "folder", "device", "loop", "endless", "absent"):
        with pytest.raises(SpecError) as caught:
            read_spec(tmp_path / f"{name}.onnx")
        assert "\n" not in str(caught.value)


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


HOSTILE_PARAMETERS = [
    *("EXECUTION_ENV_PATH", "FORCE_CPU_ONLY_INPUT_TENSORS", "TRITON_BATCH_STRATEGY_PATH", "Labels", "LABELS"),
    *("session.model_external_initializers_file_folder_path", "session.use_env_allocators", "optimization.level"),
    *("memory.enable_memory_arena_shrinkage", "ep.cuda.path", "a.b", "a-b", "a b", "", "_a", "a_", "a__b", "1a"),
    *("intra_op_thread_count", "inter_op_thread_count", "execution_mode", "enable_mem_arena", "enable_mem_pattern"),
    *("cudnn_conv_algo_search", "gpu_mem_limit", "arena_extend_strategy", "do_copy_in_default_stream"),
    *("share_session_between_instances", "trt_engine_cache_path", "device_id", "labels\n", "étiquettes", "a" * 200),
]


@pytest.mark.parametrize("name", HOSTILE_PARAMETERS)
def test_no_parameter_is_one_that_a_backend_obeys(name: str) -> None:
    with pytest.raises(SpecError, match="is no fact for clients") as caught:
        full_spec(parameters={"alphabet": "ab", name: "/tmp/x"})
    assert ascii(name)[:70] in str(caught.value)
    assert "\n" not in str(caught.value)
    raw = {**json.loads(full_spec().to_json()), "parameters": {name: "/tmp/x"}}
    with pytest.raises(SpecError, match="is no fact for clients"):
        ModelSpec.from_json(json.dumps(raw))


def test_parameters_are_texts_and_few() -> None:
    for value in (1, None, ["a"], {"string_value": "a"}, "a" * 100_000, "\ud800", "\0"):
        with pytest.raises(SpecError, match="parameter 'alphabet'"):
            full_spec(parameters={"alphabet": value})
    with pytest.raises(SpecError, match="at most 64"):
        full_spec(parameters={f"fact{number}": "" for number in range(65)})
    full_spec(parameters={f"fact{number}": "a" * 60_000 for number in range(64)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instances": 100_000}, "instances is at most 64"),
        ({"instances": True}, "expected a whole number"),
        ({"instances": 10**5000}, "at most 64, got a number of more than 40 digits"),
        ({"max_batch_size": 2**31}, "max_batch_size is at most"),
        ({"max_batch_size": 4.0}, "expected a whole number"),
        ({"opset": "18"}, "expected a whole number"),
        ({"summary": "a" * 20_000}, "at most 16384"),
        ({"name": "a" * 200}, "at most 128"),
        ({"labels": {"probabilities": ("a" * 2000,) * 3}}, "at most 1024"),
        ({"labels": {"probabilities": "abc"}}, "expected a list of str"),
        ({"labels": {"probabilities": (1, 2, 3)}}, "expected a list of str"),
        ({"labels": []}, "expected lists by output"),
        ({"parameters": []}, "expected texts by name"),
        ({"provenance": []}, "expected values by name"),
        ({"custom_ops": tuple(Op("a", "b") for _ in range(100))}, "at most 64"),
        ({"states": (StateSpec("a_in", "a_out", "FP32", (50_000_000,), CLOSE),)}, "take 200000000 bytes, at most"),
    ],
)
def test_what_would_hurt_a_server_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        full_spec(**changes)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format": 1, "provenance": ' + '{"a":' * 500 + "1" + "}" * 500 + "}",
        '{"format": ' + "9" * 10_000 + "}",
        '{"format": 1, "instances": Infinity}',
        " " * (5 << 20),
        '{"format": 1, "inputs": 3}',
        '{"format": 1, "inputs": [[]]}',
    ],
    ids=["deep", "deep in an object", "digits", "infinite", "large", "number", "lists"],
)
def test_hostile_json_is_one_line(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        ModelSpec.from_json(text)
    assert "\n" not in str(caught.value)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The way to each value within a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(way for key, child in pairs for way in places(child, (*path, key)))]


HOSTILE_VALUES = [
    *(None, True, -1, 0, 2**70, 10**4000, 1.5, 1e308, math.nan, "", "\ud800", "../x", "a\nb", "x" * 70_000),
    *([], [None], [[]], {}, {"a": 1}, {"a\nb": 1}, [2**40], ["N", "N"], [float("inf")] * 3),
]


def with_value(whole: dict, way: tuple, value: object) -> str:
    """The JSON of ``whole`` with another value at one place."""
    holder = {"raw": json.loads(json.dumps(whole))}
    *parents, last = ("raw", *way)
    inner = holder
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return json.dumps(holder["raw"])


def refusal(text: str) -> str:
    """Why a specification is refused; what is not, is written again as it was read."""
    try:
        spec = ModelSpec.from_json(text)
    except SpecError as error:
        return str(error)
    return "" if ModelSpec.from_json(spec.to_json()) == spec else "was read in two ways"


def test_every_value_in_every_place_is_a_specification_or_a_spec_error() -> None:
    whole = json.loads(full_spec().to_json())
    texts = [with_value(whole, way, value) for way in places(whole) for value in HOSTILE_VALUES]
    said = [refusal(text) for text in texts]
    assert not [text for text in said if "\n" in text or len(text) > 1000 or "two ways" in text]
    assert len([text for text in said if text]) > 0.8 * len(texts)


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
        lambda: TensorSpec("x", "FP32", ("N", 2**40), ""),
        lambda: TensorSpec("x", "FP32", ("N", True), ""),
        lambda: TensorSpec("x", "FP32", ("N", *range(1, 20)), ""),
        lambda: TensorSpec("x", "FP32", ["N", 1], ""),
        lambda: TensorSpec("a/b", "FP32", ("N", 1), ""),
        lambda: TensorSpec("x" * 200, "FP32", ("N", 1), ""),
        lambda: TensorSpec("x", ["FP32"], ("N", 1), ""),
        lambda: TensorSpec("x", "FP32", ("N", 1), "", range=(1.0, 0.0)),
        lambda: TensorSpec("x", "FP32", ("N", 1), "", range=(0.0, float("inf"))),
        lambda: TensorSpec("x", "FP32", ("N", 1), "", tolerance=1e-3),
        lambda: StateSpec("../a", "b", "FP32", (1,), CLOSE),
        lambda: StateSpec("a", "b", "BYTES", (1,), CLOSE, 1.0),
        lambda: StateSpec("a", "b", "FP32", ("N",), CLOSE),
        lambda: StateSpec("a", "b", "INT32", (1,), CLOSE, 1e30),
        lambda: StateSpec("a", "b", "INT32", (1,), CLOSE, 0.5),
        lambda: StateSpec("a", "b", "FP16", (1,), CLOSE, 1e30),
        lambda: StateSpec("a", "b", "FP32", (1,), CLOSE, float("nan")),
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
