"""Hierarchical deep reinforcement learning (h-DQN; Kulkarni, Narasimhan, Saeedi, Tenenbaum, NIPS 2016).

`chain` is the paper's stochastic chain with its exact values, `tabular` the learners on it: two levels with goals, and
one level without.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "SYSTEM":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from neurips16.training.system import System  # torch, which the tables do without

    return System("hdqn")
