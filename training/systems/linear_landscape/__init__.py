"""Deep Learning without Poor Local Minima (Kawaguchi, NIPS 2016), for deep linear networks, in float64 NumPy.

`network` has loss, gradient and Hessian; `minimum` the least loss that any weights reach; `classification` says what
a critical point is and what the theorem says of it; `paths` is the ReLU network with random paths.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "SYSTEM":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from neurips16.training.system import System  # torch, which the analyses do without

    return System("linear_landscape")
