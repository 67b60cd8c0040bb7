"""The whole way of a small model: exported, checked, published, configured, served by a real Triton, checked again."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from neurips16.export.errors import ParityError
from neurips16.export.graph.exporter import export_module
from neurips16.export.parity.check import check_parity
from neurips16.export.publish import publish
from neurips16.export.spec import ModelSpec, StateSpec, TensorSpec, Tolerance

pytestmark = [
    pytest.mark.triton,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pytriton") is None, reason="nvidia-pytriton is not installed"),
]


class RunningSum(nn.Module):
    def forward(self, x: torch.Tensor, sum_in: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": (x + sum_in) * 2, "sum_out": x + sum_in}


def stateful(spec: ModelSpec) -> tuple[ModelSpec, nn.Module, list]:
    """A model with a state that does not start at zero; sequences of it, and a step from elsewhere."""
    close = Tolerance(1e-6, 1e-6, "one addition")
    spec = dataclasses.replace(
        spec,
        name="running_sum",
        inputs=(TensorSpec("x", "FP32", ("N", 3), ""),),
        outputs=(TensorSpec("y", "FP32", ("N", 3), "", tolerance=close),),
        states=(StateSpec("sum_in", "sum_out", "FP32", (3,), close, initial=0.25),),
    )
    sequences = [[{"x": np.full((n, 3), n + k, np.float32)} for k in range(4 - n)] for n in (1, 2)]
    elsewhere = {"x": np.ones((2, 3), np.float32), "sum_in": np.full((2, 3), 7, np.float32)}
    return spec, RunningSum().eval(), [elsewhere, *sequences]


def test_a_served_model_answers_as_torch_does_and_another_is_refused(tiny, tmp_path) -> None:
    from neurips16.serving import TritonServer
    from neurips16.serving.repository import prepare

    repository = tmp_path / "models"
    report = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases)
    publish(tiny.path, repository, tiny.spec, report)

    other = type(tiny.module)().eval()
    nn.init.constant_(other.conv.bias, 3.0)
    with torch.no_grad():
        other_path = export_module(other, tiny.example, tiny.spec, tmp_path / "other.onnx")

    summing, total, cases = stateful(tiny.spec)
    first = {name: torch.from_numpy(value) for name, value in cases[0].items()}
    total_path = export_module(total, first, summing, tmp_path / "sum.onnx")
    publish(total_path, repository, summing, check_parity(summing, total, total_path, cases))

    assert prepare(repository) == ["running_sum: wrote config.pbtxt, sum_in", "tiny_encoder: wrote config.pbtxt"]
    with TritonServer(repository, grpc_port=0, http_port=0, metrics_port=None) as server:
        at = (server.url, "tiny_encoder")
        same = check_parity(tiny.spec, tiny.module, tiny.path, tiny.cases, server=at)
        same.raise_if_failed()
        assert same.runs["server"]["embedding"].compared == 20

        kept = check_parity(summing, total, total_path, cases, server=(server.url, "running_sum", "1"))
        kept.raise_if_failed()
        assert kept.runs["server"]["y"].compared == 3 * (3 * 1 + 2 * 2)

        # Another export than the one that is served: the file is as torch, the server is not.
        changed = check_parity(tiny.spec, other, other_path, tiny.cases, server=at)
        assert {failure.where for failure in changed.failures} == {"server"}
        with pytest.raises(ParityError, match="server, case 0: output 'embedding'"):
            changed.raise_if_failed()
