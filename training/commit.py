"""The commit that this code is of: from the checkout, or as the build of an installed package wrote it down."""

from __future__ import annotations

import subprocess
from pathlib import Path

WRITTEN = "commit.txt"  # by CMakeLists.txt, into the installed package


def source_commit() -> str:
    """The commit as ``git describe`` abbreviates it, with "-dirty" where files were changed; else "unknown"."""
    package = Path(__file__).parent
    if (package.parent / "pyproject.toml").is_file():  # else a repository around the installation would answer
        words = ["git", "-C", str(package), "describe", "--always", "--dirty"]
        try:
            run = subprocess.run(words, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # no git
            return "unknown"
        return run.stdout.strip() or "unknown"
    try:
        return (package / WRITTEN).read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"
