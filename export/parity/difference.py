"""How far one tensor lies from another, and whether that is too far."""

from __future__ import annotations

import numpy as np

from neurips16.export.parity.report import OutputReport
from neurips16.export.spec import EXACT, TensorSpec


def compare(tensor: TensorSpec, got: np.ndarray, want: np.ndarray) -> tuple[OutputReport, list[str]]:
    """Hold ``got`` against ``want`` under the tolerance of ``tensor``.

    Returns:
        The largest differences, and what is wrong: type, then shape, then values; nothing when all is well.
    """
    tolerance = tensor.tolerance or EXACT
    nothing = OutputReport(tolerance.rtol, tolerance.atol, tolerance.reason)
    if got.dtype != want.dtype:
        return nothing, [f"the type is {got.dtype}, torch's is {want.dtype}"]
    if got.shape != want.shape:
        return nothing, [f"the shape is {got.shape}, torch's is {want.shape}"]
    if got.size == 0:
        return nothing, [f"the shape is {got.shape}: there is nothing to compare"]

    problems = []
    nan = np.isnan(got) | np.isnan(want) if want.dtype.kind == "f" else np.zeros(want.shape, bool)
    if nan.any():
        where = _first(nan)
        problems.append(f"{nan.sum()} of {nan.size} values are NaN, the first at {where}: {_pair(got, want, where)}")

    with np.errstate(invalid="ignore", over="ignore"):
        absolute = np.where(got == want, 0.0, np.abs(got.astype(np.float64) - want.astype(np.float64)))
        absolute = np.where(np.isnan(absolute), np.inf, absolute)  # a NaN is infinitely far from everything
        if want.dtype.kind != "f":  # float64 does not tell large integers apart, but they differ by 1 at least
            absolute = np.maximum(absolute, got != want)
        magnitude = np.abs(want.astype(np.float64))
        relative = np.divide(absolute, magnitude, out=np.full(want.shape, np.inf), where=magnitude > 0)
        relative = np.where(absolute == 0, 0.0, np.where(np.isnan(relative), np.inf, relative))
        # inf - inf was settled by `got == want`; an infinity on one side only is beyond every bound.
        bound = np.where(np.isinf(magnitude), 0.0, tolerance.atol + tolerance.rtol * magnitude)
    beyond = (got != want) & (absolute > bound) & ~nan  # the NaNs are told of already
    at = tuple(int(i) for i in np.unravel_index(np.argmax(absolute), absolute.shape))
    report = OutputReport(
        tolerance.rtol,
        tolerance.atol,
        tolerance.reason,
        max_abs=float(absolute.max()),
        max_abs_at=at,
        max_rel=float(relative.max()),
        compared=int(got.size),
    )
    if beyond.any():
        at_rel = tuple(int(i) for i in np.unravel_index(np.argmax(relative), relative.shape))
        problems.append(
            f"{beyond.sum()} of {beyond.size} values differ too much; the largest difference is "
            f"{report.max_abs:.3g} at {at} ({_pair(got, want, at)}), relative {report.max_rel:.3g} at {at_rel} "
            f"({_pair(got, want, at_rel)}); allowed {tolerance.atol:g} + {tolerance.rtol:g} |torch| "
            f"({tolerance.reason})"
        )
    return report, problems


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _pair(got: np.ndarray, want: np.ndarray, at: tuple[int, ...]) -> str:
    return f"got {got[at]:.6g}, torch {want[at]:.6g}"
