"""The files that a command was given: by name, as folders, or on standard input."""

from __future__ import annotations

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
        InvalidInputError: a folder holds no such file.
    """
    found: list[InputFile] = []
    for path in paths:
        if str(path) == STANDARD_INPUT:
            found.append(InputFile("standard input", sys.stdin.buffer.read()))
        elif path.is_dir():
            inside = [
                file
                for file in sorted(path.rglob("*"))
                if file.is_file()
                and file.suffix.lower() in suffixes
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            ]
            if not inside:
                raise InvalidInputError(f"the folder {path} holds no file that ends in {', '.join(sorted(suffixes))}")
            found += [InputFile(str(file), file) for file in inside]
        else:
            found.append(InputFile(str(path), path))
    return found
