"""Tiny ONNX models, a repository of them, and what the tests of this package ask a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

TYPES = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64, "BYTES": TensorProto.STRING}


def tensor(name: str, kind: str, dims: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TYPES[kind], dims)


def make_model(nodes, inputs, outputs, initializers=()) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def times(factor: float) -> onnx.ModelProto:
    """``y = factor * x``, x FP32 [N,L]."""
    constant = numpy_helper.from_array(np.float32(factor), "factor")
    return make_model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [tensor("x", "FP32", ["N", "L"])],
        [tensor("y", "FP32", ["N", "L"])],
        [constant],
    )


def lookup() -> onnx.ModelProto:
    """``value = table[index]`` of ten rows: an index beyond them fails while it runs."""
    table = numpy_helper.from_array(np.arange(10, dtype=np.float32) * 10, "table")
    return make_model(
        [
            helper.make_node("Gather", ["table", "index"], ["value"]),
            helper.make_node("Neg", ["value"], ["negative"]),
        ],
        [tensor("index", "INT64", ["N", "K"])],
        [tensor("value", "FP32", ["N", "K"]), tensor("negative", "FP32", ["N", "K"])],
        [table],
    )


def running() -> onnx.ModelProto:
    """The running sum (from zero) and the running product (from two) of a sequence's x."""
    return make_model(
        [
            helper.make_node("Add", ["sum_in", "x"], ["sum_out"]),
            helper.make_node("Mul", ["product_in", "x"], ["product_out"]),
            helper.make_node("Concat", ["sum_out", "product_out"], ["both"], axis=1),
        ],
        [tensor(name, "FP32", ["N", 1]) for name in ("x", "sum_in", "product_in")],
        [tensor("both", "FP32", ["N", 2])] + [tensor(name, "FP32", ["N", 1]) for name in ("sum_out", "product_out")],
    )


def loudest() -> onnx.ModelProto:
    """Where each row of x has its largest value; ONNX Runtime fails at a row of none, as at a fault of its own."""
    return make_model(
        [helper.make_node("ArgMax", ["x"], ["place"], axis=1, keepdims=1)],
        [tensor("x", "FP32", ["N", "L"])],
        [tensor("place", "INT64", ["N", 1])],
    )


def identity_text() -> onnx.ModelProto:
    return make_model(
        [helper.make_node("Identity", ["text"], ["same"])],
        [tensor("text", "BYTES", ["N", "L"])],
        [tensor("same", "BYTES", ["N", "L"])],
    )


def with_optional() -> onnx.ModelProto:
    """``y = x + bias``; without a bias it is 100. No batch axis."""
    bias = numpy_helper.from_array(np.full(2, 100, np.float32), "bias")
    return make_model(
        [helper.make_node("Add", ["x", "bias"], ["y"])],
        [tensor("x", "FP32", [2]), tensor("bias", "FP32", [2])],
        [tensor("y", "FP32", [2])],
        [bias],
    )


def put(repository: Path, name: str, config: str | None, *versions: onnx.ModelProto) -> Path:
    """Lay a model into a repository; ``config`` is checked by its protobuf type, None writes none."""
    for number, model in enumerate(versions, start=1):
        folder = repository / name / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / "model.onnx")
    if config is not None:
        text = f'name: "{name}" backend: "onnxruntime" {config}'
        text_format.Parse(text, ModelConfig())
        (repository / name / "config.pbtxt").write_text(text)
    return repository / name


ONE = "instance_group { kind: KIND_CPU count: 1 }"
X_TO_Y = 'input { name: "x" data_type: TYPE_FP32 dims: -1 } output { name: "y" data_type: TYPE_FP32 dims: -1 }'


def fill(repository: Path) -> None:
    """All models that the shared server serves."""
    batching = "max_batch_size: 16 dynamic_batching { max_queue_delay_microseconds: 200000 }"
    put(repository, "double", f"max_batch_size: 16 dynamic_batching {{ }} {X_TO_Y} {ONE}", times(2))
    put(
        repository,
        "lookup",
        f"""{batching} {ONE}
        input {{ name: "index" data_type: TYPE_INT64 dims: -1 }}
        output {{ name: "value" data_type: TYPE_FP32 dims: -1 }}
        output {{ name: "negative" data_type: TYPE_FP32 dims: -1 }}""",
        lookup(),
    )
    put(
        repository,
        "loudest",
        f"""max_batch_size: 16 dynamic_batching {{ }} {ONE}
        input {{ name: "x" data_type: TYPE_FP32 dims: -1 }}
        output {{ name: "place" data_type: TYPE_INT64 dims: 1 }}""",
        loudest(),
    )
    states = "".join(
        f"""state {{ input_name: "{name}_in" output_name: "{name}_out" data_type: TYPE_FP32 dims: 1
            initial_state {{ name: "{name}" data_type: TYPE_FP32 dims: 1 {initial} }} }}"""
        for name, initial in (("product", 'data_file: "two"'), ("sum", "zero_data: true"))
    )
    for name, strategy in (("running", "oldest { max_candidate_sequences: 8 }"), ("running_direct", "direct { }")):
        put(
            repository,
            name,
            f"""max_batch_size: 4 {ONE}
            sequence_batching {{ max_sequence_idle_microseconds: 60000000 {strategy} {states} }}
            input {{ name: "x" data_type: TYPE_FP32 dims: 1 }}
            output {{ name: "both" data_type: TYPE_FP32 dims: 2 }}""",
            running(),
        )
        (repository / name / "initial_state").mkdir()
        (repository / name / "initial_state" / "two").write_bytes(np.float32([2]).tobytes())
    put(
        repository,
        "text",
        f"""max_batch_size: 8 dynamic_batching {{ }} {ONE}
        input {{ name: "text" data_type: TYPE_STRING dims: -1 }}
        output {{ name: "same" data_type: TYPE_STRING dims: -1 }}""",
        identity_text(),
    )
    put(
        repository,
        "versions",
        f"""max_batch_size: 8 version_policy {{ all {{ }} }} {X_TO_Y}
        instance_group {{ kind: KIND_CPU count: 2 }}
        parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}""",
        times(10),
        times(20),
    )


def fill_incomplete(repository: Path) -> None:
    """Models whose configuration is to be completed from their file."""
    put(repository, "bare", None, with_optional())  # without any configuration
    put(repository, "half_configured", ONE, times(3))


def infer(client, model: str, inputs: dict[str, np.ndarray], outputs: Sequence[str] | None = None, **options):
    """One request; the outputs by name."""
    import tritonclient.grpc as grpc_client
    from tritonclient.utils import np_to_triton_dtype

    tensors = []
    for name, array in inputs.items():
        tensors.append(grpc_client.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array)
    wanted = None if outputs is None else [grpc_client.InferRequestedOutput(name) for name in outputs]
    answer = client.infer(model, tensors, outputs=wanted, client_timeout=30, **options)
    return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Whether ``condition`` becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
