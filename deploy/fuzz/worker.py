"""One reader under atheris: `python -m fuzz.worker NAME CORPUS OPTION...`, with the options of libFuzzer.

The fuzzer ends the process at the first fault and writes the input beside the corpus, hence a process for each reader.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["neurips16"]):
    from fuzz.harness import fault, load

    HARNESS = load(sys.argv[1])


def main() -> None:
    """Fuzz until libFuzzer's options say stop."""
    _, name, corpus, *options = sys.argv
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = HARNESS.seeds()
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    with tempfile.TemporaryDirectory(prefix="neurips16-fuzz-") as scratch:
        fault(HARNESS, seeds[0], Path(scratch))  # what it imports and starts is not the first input's time

        def one(data: bytes) -> None:
            try:
                HARNESS.read(data, Path(scratch))
            except HARNESS.errors:
                return

        atheris.Setup([f"fuzz.{name}", *options, str(folder)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
