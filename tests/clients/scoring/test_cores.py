"""How many cores `score` takes for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurips16.clients.scoring.cores import usable_cores

ALL = len(os.sched_getaffinity(0))


def tree(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = folder / "cgroups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own").write_text(own)
    return folder / "cgroups", folder / "own"


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}),
        ("0::/only/on/the/host\n", {"cpu.max": "7000 100000\n"}),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "60000\n", "cpu/cpu.cfs_period_us": "100000\n"}),
        ("4:cpu,cpuacct:/a\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "10000", "cpu,cpuacct/a/cpu.cfs_period_us": "50000"}),
    ],
)
def test_a_quota_of_less_than_a_core_leaves_one(tmp_path, own, files):
    assert usable_cores(*tree(tmp_path, own, files)) == 1


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("", {}),
        ("0::/\n", {"cpu.max": "max 100000\n"}),
        ("2:cpuacct:/\n", {"cpuacct/cpu.cfs_quota_us": "60000\n", "cpuacct/cpu.cfs_period_us": "100000\n"}),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}),
    ],
)
def test_without_a_quota_all_are_usable(tmp_path, own, files):
    assert usable_cores(*tree(tmp_path, own, files)) == ALL


def test_in_a_real_group(half_a_core):
    code = "from neurips16.clients.scoring.cores import usable_cores; print(usable_cores())"
    joined = f"echo $$ > {half_a_core}/cgroup.procs && exec {sys.executable} -c '{code}'"
    assert subprocess.run(["sh", "-c", joined], capture_output=True, text=True, check=True).stdout.strip() == "1"
