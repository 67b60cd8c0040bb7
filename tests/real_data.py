"""Where the real data sets are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("NEURIPS16_DATA", Path(__file__).parents[2] / "shared/data"))


def real_data(name: str) -> Path:
    """The folder of a real data set; a test that needs it skips where it is not there."""
    folder = FOLDER / name
    if not folder.is_dir():
        pytest.skip(f"the real data set is not at {folder} (NEURIPS16_DATA names another place)")
    return folder
