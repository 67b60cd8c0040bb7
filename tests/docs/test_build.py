"""The documentation is built without a warning, and the messages that it explains exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MESSAGES = re.findall(r"^`(.+?) *`$", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.MULTILINE)
SOURCES = [p for package in ("clients", "export", "serving", "training") for p in (ROOT / package).rglob("*.py")]


def test_it_is_built_without_a_warning(tmp_path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "reference/commands/index.html").read_text("utf-8")
    assert "neurips16 serve" in commands
    assert "neurips16 detect" in commands
    assert "rank_premises" in (tmp_path / "reference/clients/index.html").read_text("utf-8")
    assert "dynamic_batching" in (tmp_path / "reference/fields/index.html").read_text("utf-8")
    assert "Boundaries" in (tmp_path / "security/index.html").read_text("utf-8")


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_explained_exists(message) -> None:
    """Messages are written in pieces over several lines of the source, so the pieces are joined first."""
    texts = [re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8")) for path in SOURCES]
    texts.append((ROOT / "CMakeLists.txt").read_text("utf-8"))
    assert any(message in text for text in texts)


def test_the_messages_are_many() -> None:
    assert len(MESSAGES) >= 12
