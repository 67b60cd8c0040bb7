"""Compressed files of data sets, read within bounds: a few kilobytes of xz or gzip can stand for any number of bytes.

A file is told by its ending, and decompressed a block at a time until the bound is passed, so that what is too large is
refused before it is in memory.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from neurips16.training.errors import DataError

MAX_FILE_BYTES = 1 << 30  # of a file, decompressed; MNIST's largest has 47 MB
MAX_ARCHIVE_BYTES = 4 << 30  # of an archive, decompressed; all conjectures of Mizar40 have 0.7 GB
MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 64 << 20
_BLOCK = 1 << 20
_DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error)


def read_file(path: str | Path, *, most: int = MAX_FILE_BYTES) -> bytes:
    """The content of a file; that of one whose name ends in .xz or .gz is decompressed.

    Args:
        path: the file.
        most: how many bytes the content may have.

    Raises:
        DataError: it cannot be read, is damaged, or has more bytes.
    """
    path = Path(path)
    try:
        with _Bounded(path, most) as file:
            return file.read()
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_archive(
    path: str | Path,
    *,
    most: int = MAX_ARCHIVE_BYTES,
    most_members: int = MAX_MEMBERS,
    most_of_a_member: int = MAX_MEMBER_BYTES,
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The regular files in a tar archive (.tar, .tar.xz, .tar.gz), one at a time; nothing is unpacked onto the disk.

    Args:
        path: the archive.
        most: how many bytes the archive may have, decompressed: what is skipped counts, too.
        most_members: how many files and folders it may hold.
        most_of_a_member: how many bytes each of its files may have.

    Yields:
        The name of a file, which is only a name and may say anything, and its content.

    Raises:
        DataError: it cannot be read, is damaged, passes a bound, or holds links, devices or sparse files.
    """
    path = Path(path)
    try:
        with _Bounded(path, most) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for count, member in enumerate(archive, start=1):
                if count > most_members:
                    raise DataError(f"{path} holds more than {most_members} files")
                if member.isdir():
                    continue
                # The holes of a sparse file are not in the archive: its header alone says how long it is.
                if not member.isreg() or member.issparse():
                    raise DataError(f"{path} holds {member.name!r}, which is no regular file: only those are read")
                if member.size > most_of_a_member:
                    raise DataError(f"{path} holds {member.name!r} of {member.size} bytes, at most {most_of_a_member}")
                content = archive.extractfile(member)
                assert content is not None  # only what is no regular file has none
                yield PurePosixPath(member.name), content.read()
    except (*_DAMAGED, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as a tar archive: {error}") from error


class _Bounded(io.RawIOBase):
    """The content of a file, decompressed, up to a number of bytes."""

    def __init__(self, path: Path, most: int) -> None:
        openers: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}
        self._file = openers.get(path.suffix, open)(path, "rb")
        self._path, self._most, self._read = path, most, 0

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer at the end; all of them for -1."""
        parts: list[bytes] = []
        while size:
            part = self._file.read(_BLOCK if size < 0 else min(size, _BLOCK))
            if not part:
                break
            self._read += len(part)
            if self._read > self._most:
                raise DataError(f"{self._path} holds more than {self._most} bytes: no file of this layout is so large")
            parts.append(part)
            size -= min(size, len(part)) if size > 0 else 0
        return b"".join(parts)

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()
