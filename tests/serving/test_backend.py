"""The onnxruntime backend inside a real Triton."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from serving_tools import eventually, infer
from tritonclient.utils import InferenceServerException

from neurips16.serving.triton.admin_token import GRPC_HEADER

pytestmark = pytest.mark.triton


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 1)


def test_requests_of_unequal_batch_sizes_are_run_together(client):
    before = executions(client, "lookup")
    indices = [np.random.default_rng(seed).integers(0, 10, (seed % 4 + 1, 3)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda index: infer(client, "lookup", {"index": index}), indices))
    for index, answer in zip(indices, answers, strict=True):
        np.testing.assert_array_equal(answer["value"], index * np.float32(10))
        np.testing.assert_array_equal(answer["negative"], index * np.float32(-10))
    assert executions(client, "lookup") - before < len(indices)


def test_requests_of_unequal_shapes_are_each_answered(client):
    indices = [np.full((2, 1 + number), number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda index: infer(client, "lookup", {"index": index}), indices))
    for index, answer in zip(indices, answers, strict=True):
        np.testing.assert_array_equal(answer["value"], index * np.float32(10))


def test_a_bad_request_fails_alone(client):
    before = executions(client, "lookup")
    indices = [np.full((1, 3), 99 if number == 3 else number) for number in range(8)]

    def ask(index):
        try:
            return infer(client, "lookup", {"index": index})["value"]
        except InferenceServerException as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, indices))
    for number, (index, answer) in enumerate(zip(indices, answers, strict=True)):
        if number == 3:
            assert answer.status() == "StatusCode.INVALID_ARGUMENT"
            assert "99" in answer.message()
        else:
            np.testing.assert_array_equal(answer, index * np.float32(10))
    assert executions(client, "lookup") - before < len(indices)  # they did share a batch


def test_only_the_requested_outputs_are_returned(client):
    assert set(infer(client, "lookup", {"index": np.zeros((1, 1), np.int64)}, ["negative"])) == {"negative"}


def test_zero_length_axes_pass_through(client):
    assert infer(client, "double", {"x": np.zeros((2, 0), np.float32)})["y"].shape == (2, 0)


def test_a_model_that_cannot_take_them_refuses_inputs_of_no_elements(client):
    with pytest.raises(InferenceServerException) as caught:
        infer(client, "loudest", {"x": np.zeros((2, 0), np.float32)})
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "inputs of no elements, as 'x' [2, 0]" in caught.value.message()
    assert infer(client, "loudest", {"x": column(1, 2)})["place"].tolist() == [[0], [0]]


def test_a_model_without_configuration_is_completed_from_its_file(completing_client):
    config = completing_client.get_model_config("bare").config
    assert config.max_batch_size == 0
    assert {(i.name, tuple(i.dims), i.optional) for i in config.input} == {("x", (2,), False), ("bias", (2,), True)}
    assert [(o.name, tuple(o.dims)) for o in config.output] == [("y", (2,))]


def test_a_batched_model_is_completed_with_batching(completing_client):
    config = completing_client.get_model_config("half_configured").config
    assert config.max_batch_size == 4
    assert [tuple(i.dims) for i in config.input] == [(-1,)]
    assert config.HasField("dynamic_batching")
    np.testing.assert_array_equal(infer(completing_client, "half_configured", {"x": column(1, 2)})["y"], column(3, 6))


def test_an_optional_input_may_be_left_out(completing_client):
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(infer(completing_client, "bare", {"x": x})["y"], x + 100)
    np.testing.assert_array_equal(infer(completing_client, "bare", {"x": x, "bias": x})["y"], x + x)


def test_strings_go_in_and_out_unchanged(client):
    text = np.array([["", "fof(a, axiom, p)."], ["Grüße", "∀x"]], object)
    wire = np.array([[element.encode() for element in row] for row in text], object)
    np.testing.assert_array_equal(infer(client, "text", {"text": wire})["same"], wire)


def test_a_string_that_is_not_utf8_is_refused(client):
    with pytest.raises(InferenceServerException) as caught:
        infer(client, "text", {"text": np.array([[b"\xff\xfe"]], object)})
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_several_versions_and_instances(client, server):
    x = column(1, 2)
    np.testing.assert_array_equal(infer(client, "versions", {"x": x}, model_version="1")["y"], x * 10)
    np.testing.assert_array_equal(infer(client, "versions", {"x": x}, model_version="2")["y"], x * 20)
    np.testing.assert_array_equal(infer(client, "versions", {"x": x})["y"], x * 20)
    assert not psutil.Process(server.pid).children()  # one process for all of them


@pytest.mark.parametrize("model", ["running", "running_direct"])
def test_interleaved_sequences_keep_their_own_states(client, model):
    """Both states, one from zero and one from a file, through two sequences at once, and a third afterwards."""
    steps = {7: [3.0, 5.0, 2.0], 8: [10.0, 0.5, 4.0]}
    for step in range(3):
        for sequence, values in steps.items():
            answer = infer(
                client,
                model,
                {"x": column(values[step])},
                sequence_id=sequence,
                sequence_start=step == 0,
                sequence_end=step == 2,
            )
            done = np.array(values[: step + 1])
            np.testing.assert_allclose(answer["both"], [[done.sum(), 2 * done.prod()]])
    again = infer(client, model, {"x": column(1)}, sequence_id=7, sequence_start=True, sequence_end=True)
    np.testing.assert_array_equal(again["both"], [[1, 2]])
    # Nor did the requests fail that the server fills the empty slots of a batch with.
    assert client.get_inference_statistics(model).model_stats[0].inference_stats.fail.count == 0


@pytest.mark.parametrize("model", ["running", "running_direct"])
def test_sequences_of_one_batch_keep_their_own_states(client, model):
    def run(sequence: int) -> list[float]:
        sums = []
        for step in range(5):
            answer = infer(
                client,
                model,
                {"x": column(sequence)},
                sequence_id=sequence,
                sequence_start=step == 0,
                sequence_end=step == 4,
            )
            sums.append(float(answer["both"][0, 0]))
        return sums

    with ThreadPoolExecutor(4) as pool:
        for sequence, sums in zip(range(101, 105), pool.map(run, range(101, 105)), strict=True):
            assert sums == [sequence * (step + 1) for step in range(5)]


def test_a_string_names_a_sequence(client):
    for step, expected in enumerate([2.0, 4.0]):
        answer = infer(
            client,
            "running",
            {"x": column(2)},
            sequence_id="a sequence",
            sequence_start=step == 0,
            sequence_end=step == 1,
        )
        assert answer["both"][0, 0] == expected


def test_reloading_leaks_nothing(client, server):
    admin = {GRPC_HEADER: server.admin_token}
    process = psutil.Process(server.pid)

    def reload() -> None:
        client.unload_model("double", headers=admin)
        client.load_model("double", headers=admin)
        np.testing.assert_array_equal(infer(client, "double", {"x": column(1)})["y"], column(2))

    for _ in range(3):
        reload()
    memory, threads = process.memory_info().rss, process.num_threads()
    for _ in range(20):
        reload()
    assert eventually(lambda: process.num_threads() <= threads), f"{process.num_threads()} threads, {threads} before"
    assert process.memory_info().rss - memory < 8 << 20


def executions(client, model: str) -> int:
    """How often the model was run, for however many requests."""
    return client.get_inference_statistics(model).model_stats[0].execution_count
