"""What a scenario has found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 10  # failures of one kind


@dataclass
class Finding:
    """One scenario's figures, in its own words, and what should not have been."""

    scenario: str
    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def expect(self, holds: bool, failure: str) -> None:
        """Note a failure unless something holds."""
        if not holds:
            self.failures.append(failure)

    def note(self, failures: Sequence[str]) -> None:
        """Note failures of one kind, the first few of them."""
        self.failures += failures[:SHOWN]
        if len(failures) > SHOWN:
            self.failures.append(f"and {len(failures) - SHOWN} more")
