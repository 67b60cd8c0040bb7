"""Scan Order in Gibbs Sampling: models in which it matters and bounds on how much (He et al., NIPS 2016).

`models` says what is sampled, `chain` how one update moves, `mixing` how many updates are needed, exactly;
`sampler` draws. All of it is NumPy.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "SYSTEM":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from neurips16.training.system import System  # torch, which the analyses do without

    return System("gibbs")
