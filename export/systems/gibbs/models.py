"""Gibbs sampling as one ONNX graph: a Loop over updates, chains and requests side by side.

Outside the export the module asks the library, `training.systems.gibbs.sampler`, row by row. So the parity gate holds
the graph to the library, state for state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from neurips16.export.graph.seeded_noise import MAX_SEED
from neurips16.export.registry import ExportedModel, range_parameters
from neurips16.export.spec import EXACT, ModelSpec, TensorSpec, Tolerance
from neurips16.training.noise import derive
from neurips16.training.systems.gibbs.models import Potts
from neurips16.training.systems.gibbs.sampler import SCANS, sample

PAPER = "Scan Order in Gibbs Sampling: Models in Which it Matters and Bounds on How Much (He et al., NIPS 2016)"
MODEL = "gibbs_sampler"
MAX_BATCH_SIZE = 16
MOST_SWEEPS = 2000  # with the burn-in's as many again: they bound what one request can cost
COUNTED = Tolerance(1e-12, 1e-12, "counts are equal; FP64 rounds their means in another order")


class SamplerModel(nn.Module):
    """Models, starts and seeds to states, marginals and effective draws."""

    def forward(
        self,
        couplings: Tensor,
        biases: Tensor,
        scan: Tensor,
        order: Tensor,
        start: Tensor,
        burn_in: Tensor,
        sweeps: Tensor,
        seed: Tensor,
    ) -> dict[str, Tensor]:
        """See `gibbs_model` for shapes."""
        scan, sweeps = scan.clamp(0, len(SCANS) - 1), sweeps.clamp(1, MOST_SWEEPS)
        burn_in, seed = burn_in.clamp(0, MOST_SWEEPS), seed.clamp(0, MAX_SEED)
        start = start.clamp(min=0).minimum(torch.full_like(start, biases.shape[2] - 1))
        order = order.clamp(min=0).minimum(torch.full_like(order, biases.shape[1] - 1))
        if torch.compiler.is_exporting():
            return _loop(couplings, biases, scan, order, start, burn_in, sweeps, seed)
        return _library(couplings, biases, scan, order, start, burn_in, sweeps, seed)


def _library(couplings: Tensor, biases: Tensor, *others: Tensor) -> dict[str, Tensor]:
    rows = []
    for weights, own, scan, order, start, burn_in, sweeps, seed in zip(couplings, biases, *others, strict=True):
        drawn = sample(
            Potts(weights.numpy(), own.numpy()),
            scan=SCANS[int(scan)],
            order=order.tolist(),
            start=start.numpy(),
            burn_in=int(burn_in),
            sweeps=int(sweeps),
            seed=int(seed),
        )
        rows.append((drawn.states, drawn.marginals, drawn.effective))
    return {
        name: torch.from_numpy(np.stack(parts))
        for name, parts in zip(("states", "marginals", "effective_draws"), zip(*rows, strict=True), strict=True)
    }


def _loop(
    couplings: Tensor,
    biases: Tensor,
    scan: Tensor,
    order: Tensor,
    start: Tensor,
    burn_in: Tensor,
    sweeps: Tensor,
    seed: Tensor,
) -> dict[str, Tensor]:
    requests, chains, variables = start.shape
    kinds = torch.arange(biases.shape[2])
    every = torch.arange(variables)
    width = torch.ones_like(every).sum()  # V as a tensor: the exporter knows no remainder by a number that it traces
    flat_couplings, flat_biases = couplings.flatten(0, 1), biases.flatten(0, 1)  # [N·V, V], [N·V, Q]
    first_row = torch.arange(requests)[:, None] * width  # [N, 1]
    seeds = derive(seed, torch.arange(chains))  # [N, C]
    random, shuffled, lazy = (scan == SCANS.index(name) for name in ("random", "shuffled", "lazy"))  # [N, 1]
    counted_from, end = burn_in * width, (burn_in + sweeps) * width

    def going(step: Tensor, state: Tensor, advance: Tensor, places: Tensor, counts: Tensor) -> Tensor:
        return step < end.max()

    def update(step: Tensor, state: Tensor, advance: Tensor, places: Tensor, counts: Tensor) -> tuple[Tensor, ...]:
        place = step % width
        second = derive(seeds, 2 * step + 1)  # [N, C]
        moving = ~(lazy & (second >> 31 == 0)) & (step < end)
        here = place.expand(requests, chains, 1)
        other = here + torch.where(shuffled, second * (width - place) >> 32, 0)[:, :, None]
        swapped = torch.gather(places, 2, other)
        places = places.scatter(2, other, torch.gather(places, 2, here)).scatter(2, here, swapped)
        due = torch.where(lazy, advance % width, place)
        chosen = torch.where(random, second * width >> 32, torch.gather(places, 2, due[:, :, None]).squeeze(2))
        agree = (state[:, :, :, None] == kinds).to(couplings.dtype)  # [N, C, V, Q]
        ended = (place == 0) & (step > counted_from) & (step < end)  # [N, 1]: of the sweep before
        counts = counts + agree * ended[:, :, None, None]
        rows = first_row + chosen
        logits = flat_biases[rows] + (flat_couplings[rows][:, :, :, None] * agree).sum(2)  # [N, C, Q]
        reached = torch.cumsum(torch.exp(logits - logits.amax(2, keepdim=True)), 2)
        uniform = (derive(seeds, 2 * step).to(couplings.dtype) + 0.5) * 2.0**-32
        below = reached <= uniform[:, :, None] * reached[:, :, -1:]  # never the last
        new = below.sum(2)
        old = torch.gather(state, 2, chosen[:, :, None])
        state = state.scatter(2, chosen[:, :, None], torch.where(moving, new, old.squeeze(2))[:, :, None])
        return step + 1, state, advance + moving.to(torch.int64), places, counts

    begin = (
        torch.zeros((), dtype=torch.int64),
        start.clone(),
        torch.zeros_like(seeds),
        order[:, None].expand(-1, chains, -1).clone(),
        torch.zeros_like(biases)[:, None].expand(-1, chains, -1, -1).clone(),
    )
    _, state, _, _, counts = while_loop(going, update, begin)
    counts = counts + (state[:, :, :, None] == kinds).to(counts.dtype)
    each = counts / sweeps[:, :, None, None].to(counts.dtype)  # means [N, C, V, Q]
    overall = each.mean(1)
    spread = ((each - overall[:, None]) ** 2).sum((1, 3)) / (chains - 1)  # of a single chain: 0/0, which is NaN
    single = (overall * (1 - overall)).sum(2)
    kept = sweeps.to(counts.dtype)
    spread = torch.where(spread.isnan(), spread, torch.maximum(spread, single / kept))
    moved = single > 0
    effective = torch.where(moved, chains * single / torch.where(moved, spread, 1.0), chains * kept)
    return {"states": state, "marginals": overall, "effective_draws": effective}


def gibbs_model() -> ExportedModel:
    """The served sampler: nothing of it is trained."""
    one = ("N", 1)
    inputs = (
        TensorSpec("couplings", "FP64", ("N", "V", "V"), "symmetric, zeros on the diagonal: [i, j] rewards xᵢ = xⱼ"),
        TensorSpec("biases", "FP64", ("N", "V", "Q"), "of each state of each variable"),
        TensorSpec("scan", "INT64", one, ", ".join(f"{i} {name}" for i, name in enumerate(SCANS)), range=(0, 3)),
        TensorSpec(
            "order", "INT64", ("N", "V"), "a permutation, which a shuffled scan starts from and a random one ignores"
        ),
        TensorSpec("start", "INT64", ("N", "C", "V"), "states of C chains; their number is the number of chains"),
        TensorSpec("burn_in", "INT64", one, "sweeps of V updates before any is counted", range=(0, MOST_SWEEPS)),
        TensorSpec("sweeps", "INT64", one, "of V updates, whose ends are counted", range=(1, MOST_SWEEPS)),
        TensorSpec("seed", "INT64", one, "decides the draw, on any server", range=(0, MAX_SEED)),
    )
    outputs = (
        TensorSpec("states", "INT64", ("N", "C", "V"), "after the last update", tolerance=EXACT),
        TensorSpec("marginals", "FP64", ("N", "V", "Q"), "shares of the counted states", tolerance=COUNTED),
        TensorSpec(
            "effective_draws",
            "FP64",
            ("N", "V"),
            "independent draws worth as much: of a variable that never changed all, else NaN for a single chain",
            tolerance=COUNTED,
        ),
    )
    spec = ModelSpec(
        name=MODEL,
        system="gibbs",
        summary="Draws from Potts models by Gibbs sampling, with a choice of scan orders.",
        inputs=inputs,
        outputs=outputs,
        max_batch_size=MAX_BATCH_SIZE,
        paper=PAPER,
        parameters={**range_parameters(inputs), "scans": " ".join(SCANS)},
    )
    cases = [_case(1, 3, 5, 2, seed=0), _case(4, 6, 4, 3, seed=1), _case(3, 2, 7, 5, seed=2), _frozen()]
    example = {name: torch.from_numpy(value) for name, value in cases[1].items()}
    return ExportedModel(spec, SamplerModel().eval(), example, cases)


def _case(requests: int, chains: int, variables: int, states: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(0, 0.8, (requests, variables, variables)), 1)
    return {
        "couplings": upper + upper.transpose(0, 2, 1),
        "biases": rng.normal(size=(requests, variables, states)),
        "scan": np.arange(requests)[:, None] % len(SCANS),
        "order": np.stack([rng.permutation(variables) for _ in range(requests)]),
        "start": rng.integers(0, states, (requests, chains, variables)),
        "burn_in": rng.integers(0, 5, (requests, 1)),
        "sweeps": rng.integers(5, 30, (requests, 1)),
        "seed": rng.integers(0, MAX_SEED, (requests, 1)),
    }


def _frozen() -> dict[str, np.ndarray]:
    """A case whose first variable is held in one state by its bias, and never changes."""
    case = _case(2, 4, 3, 2, seed=3)
    case["biases"][:, 0] = 0.0, 1e3
    case["start"][:, :, 0] = 1
    return case
