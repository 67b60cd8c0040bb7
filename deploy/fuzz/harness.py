"""What a file of `readers/` defines: one reader of foreign bytes, what it may raise, and inputs to start from."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

READERS = Path(__file__).parent / "readers"


@dataclass(frozen=True)
class Harness:
    """One reader.

    Attributes:
        read: reads the bytes as the reader would have got them; a file of theirs is made in the folder given.
        errors: what it may raise, which is its package's own error; anything else is a fault.
        seeds: makes inputs to start from, good ones first. They are code, so the checkout holds no corpus.
    """

    read: Callable[[bytes, Path], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]


def names() -> list[str]:
    """All readers that are fuzzed."""
    return sorted(path.stem for path in READERS.glob("[!_]*.py"))


def load(name: str) -> Harness:
    """The harness of one reader."""
    return importlib.import_module(f"fuzz.readers.{name}").HARNESS


def fault(harness: Harness, data: bytes, folder: Path) -> BaseException | None:
    """What a reader raises that it must not, None where all is well."""
    try:
        harness.read(data, folder)
    except harness.errors:
        return None
    except Exception as error:
        return error
    return None
