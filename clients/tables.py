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


def print_table(columns: Mapping[str, Literal["left", "right"]], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows under headings; the last column is cut to the width that is left, nothing is wrapped."""
    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, (heading, justify) in enumerate(columns.items()):
        longest = max([len(heading), *(len(row[place]) for row in rows)])
        is_last = place == len(columns) - 1
        table.add_column(
            heading, justify=justify, no_wrap=True, overflow="ellipsis", min_width=None if is_last else longest
        )
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in a formula are no markup
    Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE).print(table)
