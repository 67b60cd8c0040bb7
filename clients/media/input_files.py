"""The files that a command was given: by name, as folders, or on standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from neurips16.clients.protocol.errors import InvalidInputError

STANDARD_INPUT = "-"
IMAGE_SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
AUDIO_SUFFIXES = frozenset([".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"])


@dataclass(frozen=True)
class InputFile:
    """One input: its name in answers and errors, and what is read."""

    name: str
    source: Path | bytes


def input_files(paths: Iterable[Path], suffixes: frozenset[str]) -> list[InputFile]:
    """The files that ``paths`` name, in order; a folder's by their names.

    Args:
        paths: files, folders (all files in and below them that have one of the suffixes, but hidden ones), or ``-``
            for standard input, which is read to its end.
        suffixes: in lower case, with the dot.

    Raises:
        InvalidInputError: a folder holds no such file, or cannot be read.
    """
    found: list[InputFile] = []
    for path in paths:
        if str(path) == STANDARD_INPUT:
            found.append(InputFile("standard input", sys.stdin.buffer.read()))
        elif path.is_dir():
            inside = [
                file
                for file in _below(path)
                if file.suffix.lower() in suffixes
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            ]
            if not inside:
                raise InvalidInputError(f"the folder {path} holds no file that ends in {', '.join(sorted(suffixes))}")
            found += [InputFile(_shown(file), file) for file in inside]
        else:
            found.append(InputFile(_shown(path), path))
    return found


def _below(folder: Path) -> list[Path]:
    """Everything in and below a folder, by name; what cannot be read is told, not passed over."""

    def refuse(error: OSError) -> None:
        raise InvalidInputError(f"the folder {error.filename} cannot be read: {error.strerror}") from error

    return sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=refuse) for name in names)


def _shown(path: Path) -> str:
    """A name that can be printed; what of it is not UTF-8 is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
