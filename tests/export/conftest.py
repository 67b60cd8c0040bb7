"""A small text encoder, exported once for the whole session."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurips16.export.graph.exporter import export_module
from neurips16.export.spec import EXACT, ModelSpec, TensorSpec, Tolerance

torch.set_num_threads(1)

CLOSE = Tolerance(1e-4, 1e-5, "FP32 sums in another order")


class TinyEncoder(nn.Module):
    """Bytes [N, L] to an embedding [N, 4] and the count [N, 1] of bytes that are not zero.

    ``reach`` is a weight behind `count`-like output only, so that one output can be perturbed without the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 8)
        self.conv = nn.Conv1d(8, 4, 3)
        self.reach = nn.Parameter(torch.tensor([2.0]))

    def forward(self, text: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.conv(self.embedding(text.long()).transpose(1, 2))  # [N, 4, L-2]
        used = (text != 0).sum(1, keepdim=True)
        # Not in the specification's order, on purpose.
        return {"density": used * self.reach, "count": used.to(torch.int32), "embedding": torch.relu(hidden).amax(-1)}


def tiny_spec(**changes: object) -> ModelSpec:
    spec = ModelSpec(
        name="tiny_encoder",
        system="tiny",
        summary="Encodes bytes.",
        inputs=(TensorSpec("text", "UINT8", ("N", "L"), "bytes, padded with zeros"),),
        outputs=(
            TensorSpec("embedding", "FP32", ("N", 4), "the code", tolerance=CLOSE),
            TensorSpec("count", "INT32", ("N", 1), "bytes that are not zero", tolerance=EXACT),
            TensorSpec("density", "FP32", ("N", 1), "the same, scaled", tolerance=CLOSE),
        ),
        max_batch_size=8,
        paper="none",
        parameters={"alphabet": "ab", "max_length": "64"},
    )
    return dataclasses.replace(spec, **changes)


@dataclasses.dataclass(frozen=True)
class Tiny:
    spec: ModelSpec
    module: nn.Module
    example: dict[str, torch.Tensor]
    cases: list[dict[str, np.ndarray]]
    path: Path  # the exported file; not to be changed


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., ModelSpec]:
    return tiny_spec


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    torch.manual_seed(0)
    module = TinyEncoder().eval()
    example = {"text": torch.randint(0, 256, (3, 11), dtype=torch.uint8)}
    rng = np.random.default_rng(0)
    cases = [{"text": rng.integers(0, 256, shape, dtype=np.uint8)} for shape in ((1, 7), (4, 30))]
    path = export_module(module, example, tiny_spec(), tmp_path_factory.mktemp("tiny") / "model.onnx")
    return Tiny(tiny_spec(), module, example, cases, path)
