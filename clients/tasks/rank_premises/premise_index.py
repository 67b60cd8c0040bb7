"""An index of encoded premises on disk: encoded once, opened without copying, grown without encoding anything again.

    INDEX/index.json                    the manifest: build, sizes, and which segments and which proofs count
    INDEX/SEGMENT.embeddings.npy        FP32 [n, D], memory-mapped
    INDEX/SEGMENT.statements.txt        the statements as they were given, one a line
    INDEX/SEGMENT.offsets.npy           INT64 [n + 1], where each statement begins in that file, in bytes
    INDEX/SEGMENT.symbols.npz           the symbols of the statements (`SymbolTable`), for their similarity
    INDEX/NUMBER.proofs.npy             INT64 [R, 2], places of a proved statement and of a premise of its proof

A segment never changes. Growing writes a new one and then replaces the manifest, in one step, so a crash at any moment
leaves the index as it was before or after; files that no manifest names are removed by the next growth. The last
segment is merged with the new one while both are small, so that there are never many.

The network's score is the product with the conjecture's embedding. FP16 embeddings were tried: NumPy converts them so
slowly that ranking took five to nine times as long.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import mmap
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurips16.clients.protocol.errors import IndexDamagedError, InvalidInputError
from neurips16.clients.tasks.rank_premises.neighbours import Neighbours, Proofs, SymbolTable, combine
from neurips16.clients.tasks.rank_premises.statements import Statement
from neurips16.clients.tasks.rank_premises.words import word_hashes

FORMAT = 2
MANIFEST = "index.json"
LOCK = "lock"
ROWS_PER_SEGMENT = 8192  # segments below this are merged
_SEGMENT = re.compile(r"\d{6}")
_INDEX_FILE = re.compile(r"\d{6}\.(?:embeddings\.npy|statements\.txt|offsets\.npy|symbols\.npz|proofs\.npy)")
_NAME = re.compile(r"\s*(?:fof|cnf)\s*\(\s*('(?:[^'\\]|\\.)*'|[^\s,()']+)\s*,")


@dataclass(frozen=True)
class _Segment:
    name: str
    embeddings: np.ndarray  # [n, D]
    offsets: np.ndarray  # [n + 1]
    statements: bytes | mmap.mmap
    symbols: SymbolTable


class PremiseIndex:
    """Encoded premises, in the order in which they were added. A reader sees the index as it was when opened."""

    def __init__(self, path: Path, manifest: dict[str, Any], segments: Sequence[_Segment]) -> None:
        self.path = path
        self.build: str = manifest["build"]
        self.embedding_size: int = manifest["embedding_size"]
        self.max_length: int = manifest["max_length"]
        self.unit: str = manifest["unit"]  # of lengths: words or characters
        self.truncated: tuple[int, ...] = tuple(manifest["truncated"])  # statements that were not read to the end
        self._proof_file: str = manifest["proofs"]
        self._segments = tuple(segments)
        self._starts = np.cumsum([0, *(len(s.embeddings) for s in segments)])

    @staticmethod
    def is_at(path: str | Path) -> bool:
        """Whether there is an index at this path."""
        return (Path(path) / MANIFEST).exists()

    @classmethod
    def create(
        cls, path: str | Path, *, build: str, max_length: int, embedding_size: int, unit: str = "words"
    ) -> PremiseIndex:
        """Make an empty index for one build of the model.

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
                    "embedding_size": embedding_size,
                    "max_length": max_length,
                    "unit": unit,
                    "truncated": [],
                    "segments": [],
                    "proofs": "",
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
                    raise IndexDamagedError(f"the index {path} lacks {error.filename}: make it again") from error
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
                if isinstance(error, IndexDamagedError):
                    raise
                raise IndexDamagedError(
                    f"the index {path} has a damaged {MANIFEST} ({type(error).__name__}: {error}): make it again"
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

    def places_of(self, names: Iterable[str]) -> dict[str, int]:
        """Where the statements of these names are; those that the index lacks are left out."""
        wanted, found = set(names), dict[str, int]()
        for place, text in enumerate(self.texts()):
            if (match := _NAME.match(text)) and match[1] in wanted:
                found.setdefault(match[1], place)
        return found

    def scores(
        self, conjecture: np.ndarray | None, words: np.ndarray, method: str = "hybrid", before: int | None = None
    ) -> np.ndarray:
        """The scores of the premises, FP32 [len(self)], or [before].

        Args:
            conjecture: its embedding [D]; None will do for "neighbours".
            words: the hashes of its words.
            method: "network", "neighbours" or "hybrid".
            before: score and use only statements before this place, and proofs of those.
        """
        network = None
        if method != "neighbours":
            assert conjecture is not None  # the caller has asked for it
            network = self._network(conjecture)
        if method == "network":
            assert network is not None
            return network[:before]
        similarity = self.neighbours.similarity(words)
        scores = combine(method, network, similarity, self.neighbours.votes(similarity, before))
        return scores[:before]

    @cached_property
    def neighbours(self) -> Neighbours:
        """Similarity and votes over the statements; made when first asked for."""
        return Neighbours([segment.symbols for segment in self._segments], self._proofs())

    def _network(self, conjecture: np.ndarray) -> np.ndarray:
        """The product of a conjecture's embedding with that of every premise."""
        if conjecture.shape != (self.embedding_size,):
            raise InvalidInputError(
                f"the conjecture's embedding has shape {conjecture.shape}, not ({self.embedding_size},)"
            )
        vector = np.ascontiguousarray(conjecture, np.float32)
        return np.concatenate([np.empty(0, np.float32), *(s.embeddings @ vector for s in self._segments)])

    def _proofs(self) -> Proofs:
        if not self._proof_file:
            return Proofs.of([])
        try:
            pairs = np.load(self.path / self._proof_file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise IndexDamagedError(f"the index {self.path} has damaged proofs ({error}): give them again") from error
        if (
            pairs.ndim != 2
            or pairs.shape[1] != 2
            or pairs.dtype != np.int64
            or (pairs.size and pairs.max() >= len(self))
        ):
            raise IndexDamagedError(f"the index {self.path} has proofs of statements that it lacks: give them again")
        return Proofs(pairs[:, 0], pairs[:, 1])

    def add_proofs(self, proofs: Mapping[str, Iterable[str]]) -> tuple[PremiseIndex, int]:
        """Keep which premises the proof of a statement needs; later rankings take them as votes.

        Args:
            proofs: the name of a statement -> the names of premises; names that the index lacks are passed over.

        Returns:
            The index as it is then, and how many pairs it did not know.

        Raises:
            InvalidInputError: another process is growing the index, or has grown it since it was opened here.
        """
        places = self.places_of([*proofs, *(name for names in proofs.values() for name in names)])
        new = {
            (places[name], places[premise])
            for name, premises in proofs.items()
            for premise in premises
            if name in places and premise in places
        }
        with _locked(self.path):
            manifest = self._unchanged()
            old = self._proofs()
            known = set(zip(old.proved.tolist(), old.premises.tolist(), strict=True))
            pairs = np.array(sorted(known | new), np.int64).reshape(-1, 2)
            file = f"{int(self._proof_file[:6] or -1) + 1:06d}.proofs.npy"
            _write_file(self.path / file, pairs)
            _write_manifest(self.path, manifest | {"proofs": file})
            if self._proof_file:
                (self.path / self._proof_file).unlink(missing_ok=True)
        return PremiseIndex.open(self.path), len(new - known)

    def _unchanged(self) -> dict[str, Any]:
        """The manifest, seen to be the one that this index was opened with."""
        manifest = _read_manifest(self.path)
        names = [s["name"] for s in manifest["segments"]]
        if names != [s.name for s in self._segments] or manifest["build"] != self.build:
            raise InvalidInputError(f"the index {self.path} was changed by another process: run this again")
        return manifest

    def extend(
        self, statements: Sequence[Statement], embeddings: np.ndarray, *, truncated: Sequence[int] = ()
    ) -> PremiseIndex:
        """Add encoded statements at the end, for good; the index as it is then.

        Args:
            statements: what was encoded.
            embeddings: FP32 [len(statements), D].
            truncated: the `Statement.index` of those that the model did not read to the end.

        Raises:
            InvalidInputError: another process is growing the index, or has grown it since it was opened here.
        """
        if embeddings.shape != (len(statements), self.embedding_size):
            raise InvalidInputError(f"{len(statements)} statements want embeddings [n, {self.embedding_size}]")
        with _locked(self.path):
            manifest = self._unchanged()
            names = [s.name for s in self._segments]
            _sweep(self.path, names, manifest["proofs"])
            lines = [statement.text.encode() + b"\n" for statement in statements]
            symbols = SymbolTable.of([word_hashes(statement.formula) for statement in statements])
            last = self._segments[-1] if self._segments else None
            if last is not None and len(last.embeddings) + len(statements) <= ROWS_PER_SEGMENT:
                embeddings = np.concatenate([last.embeddings, embeddings])
                ends = last.offsets.tolist()
                lines = [bytes(last.statements[a:b]) for a, b in itertools.pairwise(ends)] + lines
                symbols = last.symbols.joined(symbols)
                manifest["segments"].pop()
            name = f"{max(map(int, names), default=-1) + 1:06d}"
            _write_segment(self.path, name, embeddings.astype(np.float32, copy=False), lines, symbols)
            manifest["segments"].append({"name": name, "count": len(lines)})
            cut = set(truncated)
            manifest["truncated"] += [len(self) + row for row, s in enumerate(statements) if s.index in cut]
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
        raise IndexDamagedError(f"the index {path} has a damaged {MANIFEST}: make it again") from error
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
        raise IndexDamagedError(f"the index {path} names a segment {name!r}, which is no number: make it again")
    try:
        embeddings = np.load(path / f"{name}.embeddings.npy", mmap_mode="r", allow_pickle=False)
        offsets = np.load(path / f"{name}.offsets.npy", mmap_mode="r", allow_pickle=False)
        with (path / f"{name}.statements.txt").open("rb") as file:
            statements = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with (path / f"{name}.symbols.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            symbols = SymbolTable(**{field.name: arrays[field.name] for field in fields(SymbolTable)})
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:  # of np.load: not such a file, or cut short
        raise IndexDamagedError(f"the index {path} has a damaged segment {name} ({error}): make it again") from error
    want = (count, manifest["embedding_size"])
    if embeddings.shape != want or embeddings.dtype != np.float32 or offsets.shape != (count + 1,):
        raise IndexDamagedError(
            f"the index {path}: segment {name} is not of shape {want} as its manifest says: make it again"
        )
    if int(offsets[-1]) != len(statements):
        raise IndexDamagedError(f"the index {path}: the statements of segment {name} are cut short: make it again")
    if len(symbols) != count or (len(symbols.terms) and symbols.terms.max() >= len(symbols.symbols)):
        raise IndexDamagedError(f"the index {path}: the symbols of segment {name} are not its own: make it again")
    return _Segment(name, embeddings, offsets, statements, symbols)


def _write_segment(path: Path, name: str, embeddings: np.ndarray, lines: list[bytes], symbols: SymbolTable) -> None:
    _write_file(path / f"{name}.embeddings.npy", embeddings)
    _write_file(path / f"{name}.offsets.npy", np.cumsum([0, *map(len, lines)], dtype=np.int64))
    _write_file(path / f"{name}.statements.txt", b"".join(lines))
    _write_file(path / f"{name}.symbols.npz", {field.name: getattr(symbols, field.name) for field in fields(symbols)})
    _sync_directory(path)


def _write_file(path: Path, content: bytes | np.ndarray | dict[str, Any]) -> None:
    """Bytes, an array, or several by name; on the disk when this returns."""
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        elif isinstance(content, dict):
            np.savez(file, **content)
        else:
            np.save(file, content)
        file.flush()
        os.fsync(file.fileno())


def _sweep(path: Path, names: list[str], proofs: str) -> None:
    """Remove the segments and proofs that the manifest does not name: replaced ones, and what a crash left."""
    for file in path.iterdir():
        kept = file.name == proofs if file.name.endswith(".proofs.npy") else file.name.split(".")[0] in names
        if _INDEX_FILE.fullmatch(file.name) and not kept:
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
