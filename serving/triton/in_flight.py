"""What the backend was doing when the server crashed: read from the file that it keeps (``in_flight.h``)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SLOT_BYTES = 512
FILE_BYTES = 2048 * SLOT_BYTES  # of model instances at the same time; only what is written takes memory
RUNNING, LOADING, CRASHED = 2, 3, 4  # a slot's states; 0 and 1 are free and idle


@dataclass(frozen=True)
class Activity:
    """What one model instance was doing.

    Attributes:
        model: its model's name.
        version: of the model.
        detail: the inputs' names and shapes, or what was being loaded.
        crashed: whether the crash was in its own thread. Where no activity has that (the crash was in a thread of a
            pool, or the process was killed), each one that ran may have been the cause.
    """

    model: str
    version: str
    detail: str
    crashed: bool

    def __str__(self) -> str:
        return f"model {self.model!r} version {self.version} with {self.detail}"


def read_activities(path: Path) -> list[Activity]:
    """What ran when the process that wrote the file ended."""
    content = path.read_bytes()
    found = []
    for at in range(0, len(content) - SLOT_BYTES + 1, SLOT_BYTES):
        (state,) = struct.unpack_from("<I", content, at)
        if state in (RUNNING, LOADING, CRASHED):
            parts = content[at + 4 : at + SLOT_BYTES].split(b"\0")
            model, version, detail = (part.decode(errors="replace") for part in parts[:3])
            found.append(Activity(model, version, detail, state == CRASHED))
    return found


def suspects(activities: Iterable[Activity]) -> list[Activity]:
    """Those that may have caused the crash: who crashed, or else everything that ran."""
    listed = list(activities)
    return [one for one in listed if one.crashed] or listed


def at_work(activities: Iterable[Activity]) -> str:
    """What may have caused the crash, as the end of a sentence; nothing where nothing ran."""
    doing = ", ".join(map(str, suspects(activities)))
    return f", at {doing}" if doing else ""
