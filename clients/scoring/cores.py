"""The cores that this process may use: those that it may run on, or fewer where a container has a quota."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The cores that this process may use, one at least.

    Args:
        cgroups: where the control groups are mounted, of version 2 or 1.
        own: which of them this process is in.
    """
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, _quotas(cgroups, own))]))


def _quotas(cgroups: Path, own: Path) -> list[float]:
    """Cores that the process's group, and each that it lies in, may use on average."""
    quotas = []
    for line in own.read_text().splitlines() if own.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        group = root / path.strip("/")  # in a container the path may be the host's, and then only the root is there
        for folder in [group, *group.parents]:
            quotas += _quota(folder, is_version_2=not controllers)
            if folder == root:
                break
    return quotas


def _quota(folder: Path, *, is_version_2: bool) -> list[float]:
    try:
        if is_version_2:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except OSError:
        return []
    return [] if quota in ("max", "-1") else [int(quota) / int(period)]
