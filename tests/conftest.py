"""What the tests of several packages share: each module of ``tests/fixtures``, one for each data set, is found."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent
sys.path.append(str(TESTS))  # for the package of the fixtures
pytest_plugins = [f"fixtures.{path.stem}" for path in sorted((TESTS / "fixtures").glob("*.py"))]
