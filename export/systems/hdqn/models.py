"""Two ONNX models of the chain: ``hdqn_meta`` values goals, ``hdqn_controller`` values actions towards a goal.

They are tables, learnt when they are exported: it takes seconds, and the seed decides them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurips16.export.registry import ExportedModel
from neurips16.export.spec import ModelSpec, TensorSpec, Tolerance
from neurips16.training.systems.hdqn.chain import STATES
from neurips16.training.systems.hdqn.environments import CHAIN
from neurips16.training.systems.hdqn.tabular import Settings, learn

PAPER = "Hierarchical Deep Reinforcement Learning (Kulkarni et al., NIPS 2016), sections 3 and 4.1"
META, CONTROLLER = "hdqn_meta", "hdqn_controller"
SEED = 0
LOOKED_UP = Tolerance(0.0, 0.0, "numbers of a table: there is nothing to round")


class MetaModel(nn.Module):
    """Observations to values of goals."""

    values: Tensor

    def __init__(self, values: np.ndarray):
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32))

    def forward(self, observation: Tensor) -> dict[str, Tensor]:
        """``observation`` int64 [N, 1] to ``goal_values`` float32 [N, G]."""
        return {"goal_values": self.values[observation[:, 0].clamp(0, STATES - 1)]}


class ControllerModel(nn.Module):
    """Observations and goals to values of actions."""

    values: Tensor

    def __init__(self, values: np.ndarray):
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32))

    def forward(self, observation: Tensor, goal: Tensor) -> dict[str, Tensor]:
        """``observation`` and ``goal`` int64 [N, 1] to ``action_values`` float32 [N, A]."""
        state, goal = (tensor[:, 0].clamp(0, STATES - 1) for tensor in (observation, goal))
        return {"action_values": self.values.flatten(0, 1)[state * STATES + goal]}


def hdqn_models() -> list[ExportedModel]:
    """Both models of one run of the chain."""
    learnt = learn(Settings(), SEED)
    assert learnt.meta is not None
    observation = TensorSpec("observation", "INT64", ("N", 1), "the state, counted from 0", range=(0, STATES - 1))
    goal = TensorSpec("goal", "INT64", ("N", 1), "the state to reach", range=(0, STATES - 1))
    goals = TensorSpec("goal_values", "FP32", ("N", STATES), "expected reward by goal", tolerance=LOOKED_UP)
    actions = TensorSpec("action_values", "FP32", ("N", 2), "of left and of right", tolerance=LOOKED_UP)
    shared: dict[str, Any] = {
        "system": "hdqn", "max_batch_size": 1024, "paper": PAPER, "parameters": {"environment": CHAIN},
        "provenance": {"seed": SEED, "settings": vars(Settings())},
    }  # fmt: skip
    meta = ModelSpec(
        name=META, summary="Values the goals of a hierarchy.", inputs=(observation,), outputs=(goals,), **shared
    )
    controller = ModelSpec(
        name=CONTROLLER,
        summary="Values the actions towards a goal.",
        inputs=(observation, goal),
        outputs=(actions,),
        **shared,
    )
    states, pairs = np.arange(STATES)[:, None], np.indices((STATES, STATES)).reshape(2, -1, 1)
    both = {"observation": pairs[0], "goal": pairs[1]}
    return [
        _exported(meta, MetaModel(learnt.meta), {"observation": states}),
        _exported(controller, ControllerModel(learnt.controller), both),
    ]


def _exported(spec: ModelSpec, module: nn.Module, case: dict[str, np.ndarray]) -> ExportedModel:
    cases = [case, {name: value[:1] for name, value in case.items()}]
    example = {name: torch.tensor(value[:3]) for name, value in case.items()}
    return ExportedModel(spec, module.eval(), example, cases)
