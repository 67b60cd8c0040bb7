"""Two ONNX models: ``simhash`` makes codes and keys of states, ``simhash_counts`` counts them within a sequence.

The tables of a sequence are its state, of smaller primes than the paper's: they travel with every request. What a
request holds is counted as a whole before it is read, as in the released code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.registry import ExportedModel, range_parameters
from neurips16.export.spec import EXACT, ModelSpec, StateSpec, TensorSpec, Tolerance
from neurips16.training.systems.simhash.hashing import PAPER_PRIMES, SMALL_PRIMES, powers, projections

PAPER = "#Exploration: A Study of Count-Based Exploration for Deep Reinforcement Learning (Tang et al.), section 2.2"
CODES, COUNTS = "simhash", "simhash_counts"
LARGEST_STATE, MOST_BITS = 1024, 64
ROOTS = Tolerance(1e-6, 0.0, "one square root and one division in FP32")


class CodeModel(nn.Module):
    """States to codes, and to their keys modulo some primes."""

    projections: Tensor
    powers: Tensor
    primes: Tensor

    def __init__(self, primes: tuple[int, ...]):
        super().__init__()
        matrix = projections(LARGEST_STATE, MOST_BITS)
        self.register_buffer("projections", torch.tensor(matrix, dtype=torch.float32))  # 20 bits each: exact
        self.register_buffer("powers", torch.tensor(powers(MOST_BITS, primes)))
        self.register_buffer("primes", torch.tensor(primes))

    def forward(self, states: Tensor, bits: Tensor) -> dict[str, Tensor]:
        """``states`` float32 [..., D], ``bits`` int64 [..., 1] to ``code`` uint8 [..., 64], ``keys`` int64 [..., 6]."""
        code = states.double() @ self.projections[: states.shape[-1]].double() >= 0
        code = (code & (torch.arange(MOST_BITS) < bits)).to(torch.int64)
        keys = (code[..., None] * self.powers).sum(-2) % self.primes
        return {"code": code.to(torch.uint8), "keys": keys}


class CountModel(nn.Module):
    """States and the sequence's tables to counts, bonuses and the tables after."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = CodeModel(SMALL_PRIMES)

    def forward(self, states: Tensor, bits: Tensor, update: Tensor, tables: Tensor) -> dict[str, Tensor]:
        """``states`` float32 [N, S, D], ``bits`` and ``update`` int64 [N, 1], ``tables`` int32 [N, 6, P]."""
        keys = self.codes(states, bits[:, None])["keys"].transpose(1, 2)  # [N, 6, S]
        seen = torch.zeros_like(keys).to(torch.int32) + update[:, :, None].clamp(0, 1).to(torch.int32)
        after = torch.scatter_add(tables, 2, keys, seen)
        counts = torch.gather(after, 2, keys).amin(1)  # [N, S]
        bonus = 1 / torch.sqrt(counts.clamp(min=1).to(torch.float32))
        return {"counts": counts, "bonus": bonus, "tables_after": after}


def simhash_models() -> list[ExportedModel]:
    """Both models: nothing of them is trained."""
    shared: dict[str, Any] = {"system": "simhash", "paper": PAPER}
    bits = TensorSpec("bits", "INT64", ("N", 1), "of the code: fewer confuse more states", range=(1, MOST_BITS))
    codes = ModelSpec(
        name=CODES,
        summary="Hashes states so that similar ones have the same code.",
        inputs=(TensorSpec("states", "FP32", ("N", "D"), f"of at most {LARGEST_STATE} numbers"), bits),
        outputs=(
            TensorSpec("code", "UINT8", ("N", MOST_BITS), "bits, zeros past the last", tolerance=EXACT),
            TensorSpec("keys", "INT64", ("N", 6), "of the paper's six tables", tolerance=EXACT),
        ),
        max_batch_size=4096,
        parameters={**range_parameters([bits]), "largest_state": str(LARGEST_STATE), "primes": _words(PAPER_PRIMES)},
        **shared,
    )
    update = TensorSpec("update", "INT64", ("N", 1), "1 counts the states, 0 only looks", range=(0, 1))
    counts = ModelSpec(
        name=COUNTS,
        summary="Counts the states of a sequence by their codes, and gives the exploration bonus.",
        inputs=(TensorSpec("states", "FP32", ("N", "S", "D"), "counted before any is read"), bits, update),
        outputs=(
            TensorSpec("counts", "INT32", ("N", "S"), "how often a state with this code was seen", tolerance=EXACT),
            TensorSpec("bonus", "FP32", ("N", "S"), "1/√count; 1 for what was never counted", tolerance=ROOTS),
        ),
        max_batch_size=4,
        states=(StateSpec("tables", "tables_after", "INT32", (6, max(SMALL_PRIMES)), EXACT),),
        parameters={**range_parameters([bits]), "largest_state": str(LARGEST_STATE), "primes": _words(SMALL_PRIMES)},
        **shared,
    )
    rng = np.random.default_rng(0)

    def states(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).round(1).astype(np.float32)

    code_cases = [
        {"states": states(n, d), "bits": rng.integers(1, 65, (n, 1))} for n, d in ((1, 3), (5, 40), (7, 1024))
    ]
    count_cases = [
        [
            {"states": states(n, s, d), "bits": np.full((n, 1), 3), "update": np.full((n, 1), look)}
            for s, look in ((6, 1), (9, 1), (4, 0))
        ]
        for n, d in ((1, 3), (2, 17))
    ]
    code_example = {name: torch.from_numpy(value) for name, value in code_cases[1].items()}
    count_example = {name: torch.from_numpy(value) for name, value in count_cases[1][0].items()}
    count_example["tables"] = torch.zeros((2, 6, max(SMALL_PRIMES)), dtype=torch.int32)
    return [
        ExportedModel(codes, CodeModel(PAPER_PRIMES).eval(), code_example, code_cases),
        ExportedModel(counts, CountModel().eval(), count_example, count_cases),
    ]


def _words(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))
