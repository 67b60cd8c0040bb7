"""How long `neurips16 mixing-time` takes, by the size of the model.

python deploy/bench/mixing_time.py
"""

from __future__ import annotations

import os
import subprocess
import time

CASES = (
    ("example:pyramid:8",),
    ("example:pyramid:32",),
    ("example:pyramid:256",),
    ("example:sequence:7", "--orders", "all"),
    ("example:islands:8",),
    ("example:islands:10",),
)


def main() -> None:
    """Print the seconds and the processor's seconds of each case, the start of Python included."""
    for words in CASES:
        before, start = os.times(), time.perf_counter()
        subprocess.run(["neurips16", "mixing-time", *words, "--json"], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        print(f"{' '.join(words):40} {time.perf_counter() - start:7.1f} s, processor {used:7.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
