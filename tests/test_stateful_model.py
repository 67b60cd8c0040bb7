"""A model that keeps state, at every place where models are asked: torch, file, server, client, soak and GPU check."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.stateful_model import NAME, copied, expected

from neurips16.clients import Client
from neurips16.clients.in_process import LocalClient
from neurips16.clients.protocol import messages
from neurips16.clients.protocol.messages import SequenceStep
from neurips16.clients.protocol.operation import single
from neurips16.export.parity.check import check_parity
from neurips16.export.station import TorchStation

DEPLOY = Path(__file__).parents[1] / "deploy"
on_triton = [
    pytest.mark.triton,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="nvidia-pytriton is not installed"),
]


@pytest.fixture(scope="module")
def soak() -> Iterator[SimpleNamespace]:
    """The modules of the soak, and the script of the GPU check."""
    sys.path.insert(0, str(DEPLOY))
    try:
        from gpu import check
        from soak import load, memory, questions

        yield SimpleNamespace(check=check, load=load, memory=memory, questions=questions)
    finally:
        sys.path.remove(str(DEPLOY))


@pytest.fixture(scope="module")
def server(stateful_model, tmp_path_factory) -> Iterator:
    from neurips16.serving import TritonServer

    repository = copied(stateful_model.repository, tmp_path_factory.mktemp("served") / "models")
    with TritonServer(repository, grpc_port=0, http_port=None, metrics_port=None) as running:
        yield running


def test_torch_carries_the_state(stateful_model) -> None:
    sequences = stateful_model.cases[:2]
    with TorchStation(stateful_model.spec, stateful_model.module) as station:
        found = station.sequences(sequences)
    for steps, answers in zip(sequences, found, strict=True):
        for want, answer in zip(expected(steps), answers, strict=True):
            np.testing.assert_allclose(answer["mean"], want, rtol=1e-6)


def test_models_in_this_process_carry_the_state(stateful_model) -> None:
    local = LocalClient(stateful_model.repository)
    steps = stateful_model.cases[0]
    found = [
        local.run(single(messages.infer(NAME, step, sequence=SequenceStep(5, i == 0, i == len(steps) - 1))))["mean"]
        for i, step in enumerate(steps)
    ]
    np.testing.assert_allclose(found, expected(steps), rtol=1e-6)


@pytest.mark.parametrize("place", [0, 2], ids=["first", "later"])
def test_a_question_of_the_soak_sees_a_wrong_step(stateful_model, soak, place) -> None:
    (question,) = soak.questions.make_questions(stateful_model.repository, sizes=1)
    assert len(question.steps) == soak.questions.STEPS
    local = LocalClient(stateful_model.repository)
    for step, (inputs, sequence) in enumerate(question.steps):
        answer = local.run(single(messages.infer(NAME, inputs, sequence=sequence)))
        match = question.match if step == 0 else lambda got, step=step: (0, question.match_later(step, got))
        assert match(answer)[1] == ""
        if step == place:
            assert "mean" in match({"mean": answer["mean"] + 1})[1]


class TestOnTriton:
    pytestmark = on_triton

    def test_it_passes_parity(self, stateful_model, server) -> None:
        report = check_parity(
            stateful_model.spec,
            stateful_model.module,
            stateful_model.path,
            stateful_model.cases,
            server=(server.url, NAME, "1"),
        )
        report.raise_if_failed()
        assert report.runs["server"]["mean"].compared == 3 * (4 + 2 * 2)

    def test_a_client_steps_through_it(self, stateful_model, server) -> None:
        steps = stateful_model.cases[0]
        with Client(server.url) as client:
            found = [
                client.infer(NAME, step, sequence=SequenceStep("mine", i == 0, i == len(steps) - 1))["mean"]
                for i, step in enumerate(steps)
            ]
        np.testing.assert_allclose(found, expected(steps), rtol=1e-6)

    def test_it_is_soaked(self, stateful_model, server, soak) -> None:
        questions = soak.questions.make_questions(stateful_model.repository, sizes=2)
        samples: list = []
        finding = asyncio.run(soak.load.mixed_load(server, questions, 40, samples))
        assert not finding.failures
        assert finding.figures["right_by_model"] == {NAME: 40}

    def test_the_gpu_check_walks_through_it(self, stateful_model, server, soak) -> None:
        said = soak.check.Report()
        row = soak.check.check_model(NAME, stateful_model.path, server.url, soak.check.CPU, 0.05, said, ())
        assert not said.failures
        assert row.startswith(f"| `{NAME}` | ")

    def test_the_gpu_check_sees_another_model(self, stateful_model, server, soak, tmp_path) -> None:
        import onnx

        model = onnx.load(stateful_model.path)
        for constant in model.graph.initializer:
            if constant.data_type == onnx.TensorProto.FLOAT:
                constant.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.75).reshape(constant.dims), constant.name))
        onnx.save(model, tmp_path / "other.onnx")
        said = soak.check.Report()
        soak.check.check_model(NAME, tmp_path / "other.onnx", server.url, soak.check.CPU, 0.05, said, ())
        assert any("over gRPC" in failure for failure in said.failures)
        shutil.rmtree(tmp_path)


def test_the_memory_is_sampled_however_short_the_load(soak) -> None:
    process = SimpleNamespace(pid=os.getpid(), repositories=[])
    with soak.memory.MemoryWatch(process, lambda: 200) as watch:
        pass
    assert [sample.answered for sample in watch.samples] == [200]
    assert watch.samples[0].resident_mb[soak.memory.SERVER] > 10
