"""Somebody else's test suite: cases of the `onnx` package, served without a configuration and asked over gRPC."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.grpc as grpc_client
from onnx import helper
from serving_tools import infer

from neurips16.serving import TritonServer
from neurips16.serving.errors import ModelFailedError

pytestmark = [pytest.mark.triton, pytest.mark.slow]

EVERY = int(os.environ.get("ONNX_SUITE_EVERY", "25"))  # of the node cases, by name
RECORD = os.environ.get("ONNX_SUITE_RECORD")  # a file for what came of it, which the documentation shows
REFUSALS = ("which Triton cannot express", "which Triton has no type for", "which Triton's dims cannot say")


def cases() -> list:
    loader = pytest.importorskip("onnx.backend.test.loader", reason="the onnx package lacks its backend test suite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases are of numbers beyond their type, on purpose
        found = loader.load_model_tests(kind="node")
    return sorted(found, key=lambda case: case.name)[::EVERY]


def runs_in_process(model: bytes, feed: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """ONNX Runtime's own answer; None where it has none."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feed)
    except Exception:  # ONNX Runtime's classes derive from nothing more special
        return None


def test_every_case_is_answered_as_in_process_or_refused_by_name(needs_triton, tmp_path):
    untyped = failing = 0
    asked: dict[str, tuple[dict[str, np.ndarray], list[str], list[np.ndarray]]] = {}
    for case in cases():
        model, content = case.model, case.model.SerializeToString()
        if not all(entry.type.HasField("tensor_type") for entry in [*model.graph.input, *model.graph.output]):
            untyped += 1  # sequences, maps and optional types: `test_what_triton_cannot_express_is_refused_by_name`
            continue
        values = [np.asarray(value) for value in case.data_sets[0][0]]
        feed = dict(zip([entry.name for entry in model.graph.input], values, strict=False))
        want = runs_in_process(content, feed)
        if want is None:
            failing += 1
            continue
        target = tmp_path / case.name / "1"
        target.mkdir(parents=True)
        (target / "model.onnx").write_bytes(content)
        asked[case.name] = (feed, [entry.name for entry in model.graph.output], want)
    wrong, refused, right = [], {}, 0
    with (
        TritonServer(tmp_path, grpc_port=0, metrics_port=None, strict=False) as server,
        grpc_client.InferenceServerClient(server.url) as client,
    ):
        reasons = {entry.model: entry.reason for entry in server._index()}
        for name, (feed, outputs, want) in asked.items():
            if not client.is_model_ready(name):
                refused[name] = reasons[name]
                continue
            feed = {key: np.atleast_1d(value) for key, value in feed.items()}
            feed = {
                key: np.array([str(item).encode() for item in value.ravel()], object).reshape(value.shape)
                if value.dtype == object
                else value
                for key, value in feed.items()
            }
            try:
                got = infer(client, name, feed)
            except Exception as error:
                wrong.append(f"{name}: {error}")
                continue
            for output, expected in zip(outputs, want, strict=True):
                expected = np.atleast_1d(expected)
                answer = got[output]
                if expected.dtype == object:
                    same = [item.decode() for item in answer.ravel()] == [str(item) for item in expected.ravel()]
                else:
                    same = answer.dtype == expected.dtype and np.array_equal(answer, expected, equal_nan=True)
                if not same:
                    wrong.append(f"{name}: {output} differs")
                    break
            else:
                right += 1
    if RECORD:
        kinds = {"cases": len(cases()), "beyond_tensors": untyped, "not_in_process": failing, "right": right}
        versions = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "every": EVERY}
        text = json.dumps({**versions, **kinds, "wrong": wrong, "refused": refused}, indent=1, sort_keys=True)
        Path(RECORD).write_text(text + "\n")
    unnamed = {name: reason for name, reason in refused.items() if not any(words in reason for words in REFUSALS)}
    assert not wrong
    assert not unnamed
    assert right > 0.8 * len(asked), f"{right} right, {len(refused)} refused of {len(asked)}"


def test_what_triton_cannot_express_is_refused_by_name(needs_triton, tmp_path):
    inner = helper.make_tensor_type_proto(1, ["N"])
    for name, made in (
        ("sequence", helper.make_sequence_type_proto(inner)),
        ("optional", helper.make_optional_type_proto(inner)),
    ):
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            name,
            [helper.make_value_info("x", made)],
            [helper.make_value_info("y", made)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1/model.onnx").write_bytes(model.SerializeToString())
    with (
        pytest.raises(ModelFailedError, match=r"'x' is of an optional type, .*'x' is a sequence, which Triton cannot"),
        TritonServer(tmp_path, grpc_port=0, metrics_port=None),
    ):
        pass
