"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_IN_A_PIPE = 200  # characters; a terminal has its own
MARGIN = 3  # characters that rich puts between two columns, and at the edges


def print_table(columns: Mapping[str, Literal["left", "right"]], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows under headings; the last column is cut to the width that is left, nothing is wrapped."""
    rows = list(rows)
    console = Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)
    widths = [max([len(heading), *(len(row[place]) for row in rows)]) for place, heading in enumerate(columns)]
    left = console.width - sum(widths[:-1]) - MARGIN * len(widths)
    widths[-1] = max(1, min(widths[-1], left))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # With every width given, rich has no reason to make a short column shorter.
    for (heading, justify), width in zip(columns.items(), widths, strict=True):
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in a formula are no markup
    console.print(table)
