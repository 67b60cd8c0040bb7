from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "op_testing"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes ``case`` runs on every case of its operator."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", metafunc.cls.cases, ids=str)


@pytest.fixture(scope="session")
def ops_library() -> Path:
    from op_tester import library_or_skip

    return library_or_skip()
