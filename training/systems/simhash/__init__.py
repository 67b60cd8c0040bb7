"""#Exploration: a study of count-based exploration for deep reinforcement learning (Tang et al., arXiv 2016).

`hashing` turns states into codes, `counting` counts them, `features` prepares screens, `bonus` adds the exploration
bonus to an environment's reward.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "SYSTEM":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from neurips16.training.system import System  # torch, which the analyses do without

    return System("simhash")
