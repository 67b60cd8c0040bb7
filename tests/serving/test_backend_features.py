"""What a configuration may ask of the backend: each is honoured, or named when the model loads. In a real Triton."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
import tritonclient.grpc as grpc_client
from onnx import helper, numpy_helper
from serving_tools import ONE, X_TO_Y, eventually, infer, lookup, make_model, put, tensor, times
from tritonclient.utils import InferenceServerException, shared_memory

from neurips16.serving import TritonServer
from neurips16.serving.errors import ModelFailedError
from neurips16.serving.triton.admin_token import GRPC_HEADER

pytestmark = pytest.mark.triton

PORTS = {"grpc_port": 0, "http_port": None, "metrics_port": None}
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 300000 }"


def ragged() -> onnx.ModelProto:
    """All requests' values in a row, plus what the backend makes of their shapes, each as its own output."""
    made = ["counts", "ends", "edges", "lengths", "items", "longest"]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in made if name != "longest"]
    nodes += [
        helper.make_node("Shape", ["longest"], ["longest_out"]),
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=1),
    ]
    floats = {"counts": "FP32", "ends": "FP32", "edges": "FP32", "items": "FP32", "lengths": "FP32", "longest": "FP32"}
    ranks = {"items": ["I", "R"]}
    return make_model(
        nodes,
        [tensor("x", "FP32", ["T"]), *(tensor(name, kind, ranks.get(name, [name])) for name, kind in floats.items())],
        [
            tensor("doubled", "FP32", ["T"]),
            tensor("total", "FP32", [1]),
            tensor("longest_out", "INT64", [1]),
            *(tensor(f"{name}_out", "FP32", ranks.get(name, [name])) for name in made if name != "longest"),
        ],
        [numpy_helper.from_array(np.float32(2), "two")],
    )


def scalar() -> onnx.ModelProto:
    return make_model(
        [helper.make_node("Add", ["x", "x"], ["y"])], [tensor("x", "FP32", [])], [tensor("y", "FP32", [])]
    )


def flattened() -> onnx.ModelProto:
    """``y = 2 x`` of [N, R, C]."""
    return make_model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [tensor("x", "FP32", ["N", "R", "C"])],
        [tensor("y", "FP32", ["N", "R", "C"])],
    )


def misnamed() -> onnx.ModelProto:
    """``y`` is x twice, one after the other, though the file says that it is as long as x."""
    return make_model(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)],
        [tensor("x", "FP32", ["N", "L"])],
        [tensor("y", "FP32", ["N", "L"])],
    )


def cut() -> onnx.ModelProto:
    """The first so many of x's columns, though the file says that y is as long as x."""
    nodes = [
        helper.make_node("Reshape", ["count", "one"], ["end"]),
        helper.make_node("Slice", ["x", "zero", "end", "one"], ["y"]),
    ]
    constants = [numpy_helper.from_array(np.int64([value]), name) for name, value in (("zero", 0), ("one", 1))]
    return make_model(
        nodes,
        [tensor("x", "FP32", ["N", "L"]), tensor("count", "INT64", ["N", 1])],
        [tensor("y", "FP32", ["N", "L"])],
        constants,
    )


def rows_of() -> onnx.ModelProto:
    """x in as many rows and columns as are asked for; ONNX Runtime fails where its values do not make so many."""
    nodes = [
        helper.make_node("Squeeze", ["shape", "zero"], ["target"]),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    return make_model(
        nodes,
        [tensor("x", "FP32", ["N", "L"]), tensor("shape", "INT64", [1, 2])],
        [tensor("y", "FP32", ["N", "L"])],
        [numpy_helper.from_array(np.int64([0]), "zero")],
    )


def unsplittable() -> onnx.ModelProto:
    """All values below one another: as many rows as there are values, not as there are in the batch."""
    return make_model(
        [helper.make_node("Reshape", ["x", "column"], ["y"])],
        [tensor("x", "FP32", ["N", "L"])],
        [tensor("y", "FP32", ["M", 1])],
        [numpy_helper.from_array(np.int64([-1, 1]), "column")],
    )


def fill(repository: Path) -> None:
    kinds = {
        "counts": "BATCH_ELEMENT_COUNT",
        "ends": "BATCH_ACCUMULATED_ELEMENT_COUNT",
        "edges": "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
        "longest": "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
        "items": "BATCH_ITEM_SHAPE",
        "lengths": "BATCH_ITEM_SHAPE_FLATTEN",
    }
    inputs = "".join(
        f'batch_input {{ kind: {kind} target_name: "{name}" data_type: TYPE_FP32 source_input: "x" }}'
        for name, kind in kinds.items()
    )
    put(
        repository,
        "ragged",
        f"""max_batch_size: 8 {BATCHING} {ONE} {inputs}
        input {{ name: "x" data_type: TYPE_FP32 dims: -1 allow_ragged_batch: true }}
        output {{ name: "doubled" data_type: TYPE_FP32 dims: -1 }}
        batch_output {{ target_name: "doubled" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }}""",
        ragged(),
    )
    for name in ("counts", "edges", "lengths"):
        shape = f'output {{ name: "{name}_out" data_type: TYPE_FP32 dims: -1 }}'
        put(
            repository,
            f"ragged_{name}",
            f"""max_batch_size: 8 {ONE} {inputs} {shape}
            input {{ name: "x" data_type: TYPE_FP32 dims: [ -1, -1 ] allow_ragged_batch: true }}
            batch_output {{ target_name: "{name}_out" source_input: "x" }}""",
            ragged(),
        )
    put(
        repository,
        "scalar",
        f"{ONE} {X_TO_Y.replace('-1', '1')}",
        scalar(),
    )
    put(
        repository,
        "reshaped",
        f"""max_batch_size: 8 {ONE}
        input {{ name: "x" data_type: TYPE_FP32 dims: -1 reshape {{ shape: [ 1, -1 ] }} }}
        output {{ name: "y" data_type: TYPE_FP32 dims: -1 reshape {{ shape: [ 1, -1 ] }} }}""",
        flattened(),
    )
    count = 'input { name: "count" data_type: TYPE_INT64 dims: 1 }'
    put(repository, "cut", f"max_batch_size: 8 {X_TO_Y} {count} {ONE}", cut())
    free = X_TO_Y.replace("dims: -1", "dims: [ -1, -1 ]")
    put(
        repository, "rows_of", f'{free} input {{ name: "shape" data_type: TYPE_INT64 dims: [ 1, 2 ] }} {ONE}', rows_of()
    )
    free_value = X_TO_Y.replace('"x" data_type: TYPE_FP32', '"index" data_type: TYPE_INT64').replace('"y"', '"value"')
    put(repository, "lookup", f"max_batch_size: 8 {free_value} {ONE}", lookup())
    put(repository, "misnamed", f"max_batch_size: 8 {X_TO_Y} {ONE}", misnamed())
    rows = X_TO_Y.removesuffix("-1 }") + "1 }"
    put(repository, "unsplittable", f"max_batch_size: 8 {BATCHING} {rows} {ONE}", unsplittable())
    put(
        repository,
        "settings",
        f"""max_batch_size: 8 {X_TO_Y} instance_group {{ kind: KIND_CPU count: 2 }}
        optimization {{ graph {{ level: 1 }} }}
        parameters {{ key: "intra_op_thread_count" value {{ string_value: "2" }} }}
        parameters {{ key: "inter_op_thread_count" value {{ string_value: "2" }} }}
        parameters {{ key: "execution_mode" value {{ string_value: "1" }} }}
        parameters {{ key: "enable_mem_arena" value {{ string_value: "0" }} }}
        parameters {{ key: "enable_mem_pattern" value {{ string_value: "false" }} }}
        parameters {{ key: "share_session_between_instances" value {{ string_value: "0" }} }}
        parameters {{ key: "session.set_denormal_as_zero" value {{ string_value: "1" }} }}""",
        times(5),
    )
    put(
        repository,
        "shrinking",
        f"""max_batch_size: 8 {X_TO_Y} {ONE}
        parameters {{ key: "memory.enable_memory_arena_shrinkage" value {{ string_value: "cpu:0" }} }}""",
        times(6),
    )
    put(
        repository,
        "warmed",
        f"""max_batch_size: 8 {X_TO_Y} {ONE} model_warmup {{ name: "zeros" batch_size: 2
        inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: 3 zero_data: true }} }} }}""",
        times(7),
    )
    put(
        repository,
        "chosen_version",
        f"max_batch_size: 8 version_policy {{ specific {{ versions: 1 }} }} {X_TO_Y} {ONE}",
        times(10),
        times(20),
    )
    folder = put(
        repository, "other_file", f'max_batch_size: 8 {X_TO_Y} {ONE} default_model_filename: "net.onnx"', times(8)
    )
    (folder / "1/model.onnx").rename(folder / "1/net.onnx")
    put(
        repository,
        "unheard",
        f"""max_batch_size: 8 {X_TO_Y} {ONE} optimization {{ priority: PRIORITY_MAX eager_batching: true }}
        parameters {{ key: "favourite_colour" value {{ string_value: "blue" }} }}""",
        times(9),
    )


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def serving(needs_triton, tmp_path_factory, said):
    repository = tmp_path_factory.mktemp("features")
    fill(repository)

    class Kept(logging.Handler):
        def emit(self, record):
            said.append(f"{record.levelname} {record.getMessage()}")

    kept, log = Kept(), logging.getLogger("neurips16.serving.triton.log")
    log.addHandler(kept)
    level = log.level
    log.setLevel(logging.DEBUG)
    with TritonServer(repository, **PORTS) as server, grpc_client.InferenceServerClient(server.url) as client:
        yield server, client
    log.setLevel(level)
    log.removeHandler(kept)


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


class TestRagged:
    def test_requests_of_unequal_lengths_run_together_and_come_apart(self, serving):
        _, client = serving
        before = client.get_inference_statistics("ragged").model_stats[0].execution_count
        lengths = [1, 4, 2, 7, 3, 5]
        questions = [row(*range(length)) + length for length in lengths]
        with ThreadPoolExecutor(len(lengths)) as pool:
            answers = list(pool.map(lambda x: infer(client, "ragged", {"x": x})["doubled"], questions))
        for question, answer in zip(questions, answers, strict=True):
            np.testing.assert_array_equal(answer, question * 2)
        runs = client.get_inference_statistics("ragged").model_stats[0].execution_count - before
        assert runs < len(lengths)

    def test_a_part_that_does_not_fit_its_input_is_our_fault_and_said(self, serving):
        _, client = serving
        with pytest.raises(InferenceServerException) as caught:
            infer(client, "ragged_counts", {"x": np.zeros((1, 2, 3), np.float32)})
        assert caught.value.status() == "StatusCode.INTERNAL"
        assert "'counts_out' has not as many elements as its requests' inputs" in caught.value.message()

    @pytest.mark.parametrize(
        ("model", "shape", "values"),
        [("ragged_counts", (1, 1, 1), [1]), ("ragged_lengths", (1, 2, 1), [2, 1]), ("ragged_edges", (2, 1, 1), [0, 2])],
    )
    def test_shapes_become_tensors(self, serving, model, shape, values):
        _, client = serving
        answer = infer(client, model, {"x": np.zeros(shape, np.float32)})[f"{model.removeprefix('ragged_')}_out"]
        assert answer.ravel().tolist() == values


def test_a_scalar_goes_by_dims_of_one(serving):
    _, client = serving
    np.testing.assert_array_equal(infer(client, "scalar", {"x": np.float32([4])})["y"], [8])


def test_a_reshape_with_a_free_axis_is_done_and_undone(serving):
    _, client = serving
    np.testing.assert_array_equal(infer(client, "reshaped", {"x": row(1, 2, 3)})["y"], row(2, 4, 6))


def test_a_file_that_names_its_axes_wrongly_is_answered_rightly(serving):
    _, client = serving
    for _ in range(2):
        np.testing.assert_array_equal(infer(client, "misnamed", {"x": row(1, 2)})["y"], row(1, 2, 1, 2))


def test_a_shape_that_differs_for_once_wants_another_try(serving):
    """Large outputs are written into the response by ONNX Runtime itself, in the shape that they always had."""
    _, client = serving
    x = np.arange(1 << 15, dtype=np.float32).reshape(1, -1)

    def ask(count: int) -> np.ndarray:
        return infer(client, "cut", {"x": x, "count": np.array([[count]])})["y"]

    for _ in range(3):
        np.testing.assert_array_equal(ask(x.size), x)
    with pytest.raises(InferenceServerException, match="sent again") as caught:
        ask(5)
    assert caught.value.status() == "StatusCode.UNAVAILABLE"
    np.testing.assert_array_equal(ask(5), x[:, :5])
    np.testing.assert_array_equal(ask(x.size), x)


@pytest.mark.parametrize(
    ("model", "good", "bad", "words", "status"),
    [
        (
            "rows_of",
            {"x": np.zeros((1, 1 << 15), np.float32), "shape": np.array([[1, 1 << 15]])},
            {"x": np.zeros((1, 1 << 15), np.float32), "shape": np.array([[3, 5]])},
            "running Reshape node",
            "INTERNAL",
        ),
        (
            "lookup",
            {"index": np.zeros((1, 1 << 15), np.int64)},
            {"index": np.full((1, 1 << 15), 11)},
            "running Gather node",
            "INVALID_ARGUMENT",
        ),
    ],
)
def test_a_request_that_fails_where_outputs_are_written_in_place_is_logged_once(
    serving, said, model, good, bad, words, status
):
    _, client = serving
    for _ in range(2):  # what has been seen once is trusted, and written in place
        infer(client, model, good)
    before = len(said)
    with pytest.raises(InferenceServerException, match=words) as caught:
        infer(client, model, bad)
    assert caught.value.status() == f"StatusCode.{status}"
    infer(client, model, good)
    assert eventually(lambda: any(words in line for line in said[before:]))
    assert len([line for line in said[before:] if words in line]) == 1


def test_requests_that_cannot_be_told_apart_run_one_by_one(serving):
    _, client = serving
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda value: infer(client, "unsplittable", {"x": row(value, 1)})["y"], range(4))
        assert [answer.tolist() for answer in answers] == [[[value], [1]] for value in range(4)]


@pytest.mark.parametrize(
    ("model", "factor"),
    [("settings", 5), ("shrinking", 6), ("chosen_version", 10), ("other_file", 8), ("unheard", 9)],
)
def test_settings_leave_answers_as_they_are(serving, model, factor):
    _, client = serving
    for _ in range(2):
        np.testing.assert_array_equal(infer(client, model, {"x": row(1, 2)})["y"], row(1, 2) * factor)


def test_a_model_is_warmed_before_it_is_ready(serving):
    _, client = serving
    statistics = client.get_inference_statistics("warmed").model_stats[0]
    assert (statistics.execution_count, statistics.inference_count) == (1, 2)  # nobody else has asked it


def test_what_has_no_effect_is_named(serving, said):
    text = "\n".join(said)
    assert "model 'unheard': without effect here: optimization.eager_batching, optimization.priority" in text
    assert "model 'unheard': parameters for clients only: favourite_colour" in text
    assert "'double': without effect" not in text


def test_strings_with_zero_bytes_stay_whole(client):
    text = np.array([[b"a\0b", b"\0"], [b"", b"\0\0"]], object)
    np.testing.assert_array_equal(infer(client, "text", {"text": text})["same"], text)


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x88"], ids=lambda raw: raw.hex()
)
def test_what_is_no_utf8_is_refused(client, raw):
    with pytest.raises(InferenceServerException, match="string 0 is not UTF-8") as caught:
        infer(client, "text", {"text": np.array([[raw]], object)})
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_an_input_at_an_odd_address_is_copied(server, client):
    """In shared memory a tensor may begin anywhere."""
    admin, x = {GRPC_HEADER: server.admin_token}, row(1, 2, 3)
    name = f"neurips16-test-{os.getpid()}"
    region = shared_memory.create_shared_memory_region(name, f"/{name}", x.nbytes + 1)
    try:
        shared_memory.set_shared_memory_region(region, [x], offset=1)
        client.register_system_shared_memory(name, f"/{name}", x.nbytes + 1, headers=admin)
        given = grpc_client.InferInput("x", x.shape, "FP32")
        given.set_shared_memory(name, x.nbytes, offset=1)
        np.testing.assert_array_equal(client.infer("double", [given]).as_numpy("y"), x * 2)
        client.unregister_system_shared_memory(name, headers=admin)
    finally:
        shared_memory.destroy_shared_memory_region(region)


def test_instances_share_a_session_unless_told_otherwise(needs_triton, tmp_path):
    """Twelve megabytes of weights: once with one session, four times with four."""
    weights = numpy_helper.from_array(np.ones(3 << 20, np.float32), "weights")
    nodes = [
        helper.make_node("ReduceSum", ["weights"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["x", "sum"], ["y"]),
    ]
    square = numpy_helper.from_array(np.int64([1, 1]), "square")
    model = make_model(nodes, [tensor("x", "FP32", ["N", 1])], [tensor("y", "FP32", ["N", 1])], [weights, square])
    unshared = 'parameters { key: "share_session_between_instances" value { string_value: "0" } }'
    level = "optimization { graph { level: 2 } }"  # nothing is folded

    def grown(extra: str) -> int:
        group = "instance_group { kind: KIND_CPU count: 4 }"
        repository = tmp_path / ("unshared" if extra else "shared")
        put(repository, "small", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(2))
        put(repository, "heavy", f"max_batch_size: 8 {X_TO_Y.replace('-1', '1')} {group} {level} {extra}", model)
        with TritonServer(repository, **PORTS, models=["small"], model_control="explicit") as server:
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            with grpc_client.InferenceServerClient(server.url) as client:
                client.load_model("heavy", headers={GRPC_HEADER: server.admin_token})
                assert infer(client, "heavy", {"x": row(1)})["y"] == 3 << 20
            return process.memory_info().rss - before

    assert grown(unshared) - grown("") > 24 << 20


REFUSED = {
    "decoupled": ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled cannot be"),
    "reads_files": (
        'parameters { key: "session.optimized_model_external_initializers_file_name" value { string_value: "x" } }',
        "none of the session settings that a configuration may make",
    ),
    "threads": (
        'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
        "parameter intra_op_thread_count is 'many': a number of threads",
    ),
    "mode": ('parameters { key: "execution_mode" value { string_value: "2" } }', "0 (sequential), 1 (parallel)"),
    "flag": ('parameters { key: "enable_mem_arena" value { string_value: "maybe" } }', "enable_mem_arena is 'maybe'"),
    "shrinks": (
        'parameters { key: "memory.enable_memory_arena_shrinkage" value { string_value: "tpu:0" } }',
        "for example cpu:0;gpu:0",
    ),
    "leads_out": ('default_model_filename: "../../double/1/model.onnx"', "leads out of the model's folder"),
    "libraries": (
        'model_operations { op_library_filename: "/usr/lib/x86_64-linux-gnu/libm.so.6" }',
        "'/usr/lib/x86_64-linux-gnu/libm.so.6' is not ours, and a library is a program",
    ),
    "accelerators": (
        'optimization { execution_accelerators { cpu_execution_accelerator { name: "abacus" } } }',
        "CPU accelerator 'abacus' is unknown: openvino",
    ),
    "openvino": (
        'optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }',
        "offers only",
    ),
}


def test_what_cannot_be_is_refused_when_it_loads(needs_triton, tmp_path):
    put(tmp_path, "double", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(2))
    for name, (fields, _) in REFUSED.items():
        put(tmp_path, name, f"max_batch_size: 8 {X_TO_Y} {ONE} {fields}", times(2))
    outside = times(3)
    place = helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [3.0])
    place.ClearField("float_data")
    place.data_location = onnx.TensorProto.EXTERNAL
    place.external_data.add(key="location", value="../../double/1/model.onnx")
    outside.graph.initializer[0].CopyFrom(place)
    folder = tmp_path / "outside" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(outside.SerializeToString())
    (tmp_path / "outside/config.pbtxt").write_text(f'backend: "onnxruntime" max_batch_size: 8 {X_TO_Y} {ONE}')
    with pytest.raises(ModelFailedError) as caught, TritonServer(tmp_path, **PORTS):
        pass
    reasons = dict(part.partition(" version 1 did not load: ")[::2] for part in str(caught.value).split("; model "))
    reasons = {name.removeprefix("model ").strip("'"): reason for name, reason in reasons.items()}
    assert reasons.keys() == {*REFUSED, "outside"}
    for name, (_, words) in REFUSED.items():
        assert words in reasons[name]
    assert "keeps weights in '../../double/1/model.onnx', which is outside of its own folder" in reasons["outside"]
