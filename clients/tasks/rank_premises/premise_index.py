"""An index of encoded premises on disk: encoded once, opened without copying, grown without encoding anything again.

    INDEX/index.json                    the manifest: build, sizes, output weights, and which segments count
    INDEX/SEGMENT.embeddings.npy        FP32 [n, D], memory-mapped
    INDEX/SEGMENT.statements.txt        the statements as they were given, one a line
    INDEX/SEGMENT.offsets.npy           INT64 [n + 1], where each statement begins in that file, in bytes

A segment never changes. Growing writes a new one and then replaces the manifest, in one step, so a crash at any moment
leaves the index as it was before or after; files that no manifest names are removed by the next growth. The last
segment is merged with the new one while both are small, so that there are never many.

The scores are ``relu(c + P) @ w + b`` over all premises P. Since ``relu(c + p) = max(p, -c) + c``, they are computed
as ``max(P, -c) @ w + (c @ w + b)``: one pass over P less. FP16 embeddings were tried: NumPy converts them so slowly
that ranking took five to nine times as long.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurips16.clients.protocol.errors import IndexDamagedError, InvalidInputError
from neurips16.clients.tasks.rank_premises.statements import Statement

FORMAT = 1
MANIFEST = "index.json"
LOCK = "lock"
ROWS_PER_SEGMENT = 8192  # segments below this are merged
BLOCK_BYTES = 1 << 20  # of embeddings at a time: what lies in a CPU's second-level cache
_SEGMENT = re.compile(r"\d{6}")
_SEGMENT_FILE = re.compile(r"(\d{6})\.(?:embeddings\.npy|statements\.txt|offsets\.npy)")


@dataclass(frozen=True)
class _Segment:
    name: str
    embeddings: np.ndarray  # [n, D]
    offsets: np.ndarray  # [n + 1]
    statements: bytes | mmap.mmap


class PremiseIndex:
    """Encoded premises, in the order in which they were added. A reader sees the index as it was when opened."""

    def __init__(self, path: Path, manifest: dict[str, Any], segments: Sequence[_Segment]) -> None:
        self.path = path
        self.build: str = manifest["build"]
        self.embedding_size: int = manifest["embedding_size"]
        self.max_length: int = manifest["max_length"]
        self.truncated: tuple[int, ...] = tuple(manifest["truncated"])  # statements that were not read to the end
        self.output_weights = np.array(manifest["output_weights"], np.float32)  # [D + 1]: weights, then bias
        self._segments = tuple(segments)
        self._starts = np.cumsum([0, *(len(s.embeddings) for s in segments)])

    @staticmethod
    def is_at(path: str | Path) -> bool:
        """Whether there is an index at this path."""
        return (Path(path) / MANIFEST).exists()

    @classmethod
    def create(cls, path: str | Path, *, build: str, max_length: int, output_weights: np.ndarray) -> PremiseIndex:
        """Make an empty index for one build of the models.

        Raises:
            InvalidInputError: something else is at this path, or it cannot be written.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise InvalidInputError(f"{path} is not empty and not an index of premises: name another path")
            _write_manifest(
                path,
                {
                    "format": FORMAT,
                    "build": build,
                    "embedding_size": len(output_weights) - 1,
                    "max_length": max_length,
                    "output_weights": [float(w) for w in output_weights],
                    "truncated": [],
                    "segments": [],
                },
            )
        except OSError as error:
            raise InvalidInputError(f"the index {path} cannot be written: {error.strerror}") from error
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> PremiseIndex:
        """Open an index for reading; nothing is copied into memory.

        Raises:
            InvalidInputError: there is none, or it is of another format.
            IndexDamagedError: its files contradict one another.
        """
        path = Path(path)
        for attempt in (1, 2, 3):
            manifest = _read_manifest(path)
            try:
                return cls(path, manifest, [_open_segment(path, s, manifest) for s in manifest["segments"]])
            except FileNotFoundError as error:
                # A writer may have replaced the last segment between our two looks: then the manifest is new, too.
                if attempt == 3:
                    raise IndexDamagedError(f"the index {path} lacks {error.filename}: make it anew") from error
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
                if isinstance(error, IndexDamagedError):
                    raise
                raise IndexDamagedError(
                    f"the index {path} has a damaged {MANIFEST} ({type(error).__name__}: {error}): make it anew"
                ) from error
        raise AssertionError("unreachable")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def text(self, place: int) -> str:
        """The statement at a place, as it was given."""
        which = int(np.searchsorted(self._starts, place, side="right")) - 1
        if not 0 <= place < len(self):
            raise IndexError(f"the index holds {len(self)} premises, there is none at {place}")
        segment, row = self._segments[which], place - int(self._starts[which])
        begin, end = int(segment.offsets[row]), int(segment.offsets[row + 1])
        return segment.statements[begin : end - 1].decode()  # without the line's end

    def texts(self) -> Iterator[str]:
        """All statements, in order."""
        for segment in self._segments:
            whole = bytes(segment.statements)
            for begin, end in zip(segment.offsets[:-1].tolist(), segment.offsets[1:].tolist(), strict=True):
                yield whole[begin : end - 1].decode()

    def place_of(self, name: str) -> int | None:
        """Where the statement of this name is; None if the index has none."""
        if not name:
            return None
        line = re.compile(rb"^[ \t]*fof\s*\(\s*" + re.escape(name.encode()) + rb"\s*,", re.MULTILINE)
        for start, segment in zip(self._starts.tolist(), self._segments, strict=False):
            if match := line.search(segment.statements):
                return start + int(np.searchsorted(segment.offsets, match.start(), side="right")) - 1
        return None

    def scores(self, conjecture: np.ndarray) -> np.ndarray:
        """The score of every premise, FP32 [len(self)], as the server's ranker would give it."""
        if conjecture.shape != (self.embedding_size,):
            raise InvalidInputError(
                f"the conjecture's embedding has shape {conjecture.shape}, not ({self.embedding_size},)"
            )
        weights = np.ascontiguousarray(self.output_weights[:-1])
        threshold = -conjecture.astype(np.float32)
        constant = conjecture.astype(np.float64) @ weights.astype(np.float64) + float(self.output_weights[-1])
        scores = np.empty(len(self), np.float32)
        rows = max(1, BLOCK_BYTES // (4 * self.embedding_size))
        block = np.empty((rows, self.embedding_size), np.float32)
        for start, segment in zip(self._starts.tolist(), self._segments, strict=False):
            for row in range(0, len(segment.embeddings), rows):
                part = segment.embeddings[row : row + rows]
                higher = np.maximum(part, threshold, out=block[: len(part)])
                np.dot(higher, weights, out=scores[start + row : start + row + len(part)])
        scores += np.float32(constant)
        return scores

    def extend(self, statements: Sequence[Statement], embeddings: np.ndarray) -> PremiseIndex:
        """Add encoded statements at the end, for good; the index as it is then.

        Args:
            statements: what was encoded.
            embeddings: FP32 [len(statements), D].

        Raises:
            InvalidInputError: another process is growing the index, or has grown it since it was opened here.
        """
        if embeddings.shape != (len(statements), self.embedding_size):
            raise InvalidInputError(f"{len(statements)} statements want embeddings [n, {self.embedding_size}]")
        with _locked(self.path):
            manifest = _read_manifest(self.path)
            names = [s["name"] for s in manifest["segments"]]
            if names != [s.name for s in self._segments] or manifest["build"] != self.build:
                raise InvalidInputError(f"the index {self.path} was changed by another process: run this again")
            _sweep(self.path, names)
            lines = [statement.text.encode() + b"\n" for statement in statements]
            last = self._segments[-1] if self._segments else None
            if last is not None and len(last.embeddings) + len(statements) <= ROWS_PER_SEGMENT:
                embeddings = np.concatenate([last.embeddings, embeddings])
                ends = last.offsets.tolist()
                lines = [bytes(last.statements[a:b]) for a, b in itertools.pairwise(ends)] + lines
                manifest["segments"].pop()
            name = f"{max(map(int, names), default=-1) + 1:06d}"
            _write_segment(self.path, name, embeddings.astype(np.float32, copy=False), lines)
            manifest["segments"].append({"name": name, "count": len(lines)})
            manifest["truncated"] += [
                len(self) + row for row, s in enumerate(statements) if len(s.code) > self.max_length
            ]
            _write_manifest(self.path, manifest)
        return PremiseIndex.open(self.path)


def best(scores: np.ndarray, top_k: int | None = None) -> np.ndarray:
    """The places of the highest scores, best first, equal ones in their order."""
    places = np.arange(len(scores))
    if top_k is not None and top_k < len(scores):
        lowest = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
        places = np.flatnonzero(scores >= lowest)
    return places[np.argsort(-scores[places], kind="stable")][:top_k]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidInputError(f"{path} is no index of premises: make one with `neurips16 index-premises`") from error
    except OSError as error:
        raise InvalidInputError(f"the index {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise IndexDamagedError(f"the index {path} has a damaged {MANIFEST}: make it anew") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InvalidInputError(f"the index {path} is not of format {FORMAT}: make a new one")
    return manifest


def _write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    aside = path / f"{MANIFEST}.new"
    with aside.open("w", encoding="utf-8") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path / MANIFEST)
    _sync_directory(path)


def _open_segment(path: Path, entry: dict[str, Any], manifest: dict[str, Any]) -> _Segment:
    name, count = entry["name"], entry["count"]
    if not _SEGMENT.fullmatch(name):  # it becomes a part of paths
        raise IndexDamagedError(f"the index {path} names a segment {name!r}, which is no number: make it anew")
    try:
        embeddings = np.load(path / f"{name}.embeddings.npy", mmap_mode="r", allow_pickle=False)
        offsets = np.load(path / f"{name}.offsets.npy", mmap_mode="r", allow_pickle=False)
        with (path / f"{name}.statements.txt").open("rb") as file:
            statements = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:  # of np.load: not a .npy file, or cut short
        raise IndexDamagedError(f"the index {path} has a damaged segment {name} ({error}): make it anew") from error
    want = (count, manifest["embedding_size"])
    if embeddings.shape != want or embeddings.dtype != np.float32 or offsets.shape != (count + 1,):
        raise IndexDamagedError(
            f"the index {path}: segment {name} is not of shape {want} as its manifest says: make it anew"
        )
    if int(offsets[-1]) != len(statements):
        raise IndexDamagedError(f"the index {path}: the statements of segment {name} are cut short: make it anew")
    return _Segment(name, embeddings, offsets, statements)


def _write_segment(path: Path, name: str, embeddings: np.ndarray, lines: list[bytes]) -> None:
    offsets = np.cumsum([0, *map(len, lines)], dtype=np.int64)
    for suffix, content in (
        ("embeddings.npy", embeddings),
        ("offsets.npy", offsets),
        ("statements.txt", b"".join(lines)),
    ):
        with (path / f"{name}.{suffix}").open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                np.save(file, content)
            file.flush()
            os.fsync(file.fileno())
    _sync_directory(path)


def _sweep(path: Path, names: list[str]) -> None:
    """Remove the segments that the manifest does not name: replaced ones, and what a crash left."""
    for file in path.iterdir():
        if (match := _SEGMENT_FILE.fullmatch(file.name)) and match[1] not in names:
            file.unlink()


def _sync_directory(path: Path) -> None:
    """Make new names in a directory last through a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the index for writing; the lock goes with the process."""
    with (path / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInputError(f"another process is growing the index {path}: wait for its end") from error
        yield
