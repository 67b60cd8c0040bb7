"""The folder that a scoring job writes, and why a job that is killed at any moment can be taken up again.

    OUTPUT/manifest.json                  what the folder is the output of: input, task, models, options
    OUTPUT/results/part-000000.parquet    the results of a shard's rows, in their order
    OUTPUT/errors/part-000000.parquet     the shard's rows that could not be scored, and why; only where there are some
    OUTPUT/summary.json                   written last: how many rows, how many failed
    OUTPUT/.work/                         while the job lasts: the input cut into shards, and unfinished files

A shard is a fixed number of rows of the input, in its order. What its results are follows from the manifest and the
shard alone, and a file takes its name only when it is whole: so it does no harm if a shard is scored twice, by a worker
that outlived its job, or by an engine that tries again. A shard is done when its results are there; its errors take
their place before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from neurips16.clients.protocol.errors import InvalidInputError, ScoringError

FORMAT = 1
_PART = re.compile(r"part-(\d{6,})\.parquet")


class ScoreOutput:
    """One output folder; what it holds on disk is its only state."""

    def __init__(self, folder: str | Path) -> None:
        if "://" in str(folder):
            raise InvalidInputError(
                f"the output {folder} is not a folder of a file system: results appear by renaming files, which object "
                f"storage cannot do; write to a folder and copy it"
            )
        self.folder = Path(folder).absolute()
        self.results = self.folder / "results"
        self.errors = self.folder / "errors"
        self.work = self.folder / ".work"
        self._manifest = self.folder / "manifest.json"
        self._summary = self.folder / "summary.json"
        self._cut = self.work / "cut.json"

    @contextlib.contextmanager
    def claimed(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Hold the folder for a job, alone; the hold goes with the process.

        Raises:
            InvalidInputError: another process holds it, it belongs to another job, or it cannot be written or locked.
        """
        manifest = {"format": FORMAT, **manifest}
        try:
            if self.folder.exists() and not self._manifest.exists() and any(_visible(self.folder)):
                raise InvalidInputError(f"{self.folder} is not empty and not the output of a scoring job: name another")
            for folder in (self.results, self.errors, self.work):
                folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise InvalidInputError(f"the output {self.folder} cannot be written: {error}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InvalidInputError(f"another process is writing {self.folder}: wait for its end") from error
            except OSError as error:  # ENOLCK and its like: a network file system without a lock server
                raise InvalidInputError(
                    f"the file system of {self.folder} cannot lock files ({error.strerror}), so two jobs could write "
                    f"there at once: name a folder on another one, and copy it"
                ) from error
            self._check(manifest)
            for leftover in self.work.glob("*.part"):  # of a process that was killed
                leftover.unlink(missing_ok=True)
            yield

    def _check(self, manifest: dict[str, Any]) -> None:
        if not self._manifest.exists():
            self._write_json(self._manifest, manifest)
            return
        said = json.loads(self._manifest.read_text(encoding="utf-8", errors="surrogateescape"))
        for name in sorted({*said, *manifest}):
            if said.get(name) != manifest.get(name):
                raise InvalidInputError(
                    f"{self.folder} is the output of another job, whose {name} {'were' if name[-1] == 's' else 'was'} "
                    f"{_short(said.get(name))}, not {_short(manifest.get(name))}: name another folder"
                )

    @property
    def cut(self) -> dict[str, int] | None:
        """How many ``rows`` and ``shards`` the input has; None while it is not cut to its end."""
        return json.loads(self._cut.read_text(encoding="utf-8")) if self._cut.exists() else None

    @cut.setter
    def cut(self, counts: dict[str, int]) -> None:
        self._write_json(self._cut, counts)

    @property
    def summary(self) -> dict[str, int] | None:
        """What the finished job came to; None while it is not finished."""
        return json.loads(self._summary.read_text(encoding="utf-8")) if self._summary.exists() else None

    def finish(self, summary: dict[str, int]) -> None:
        """Write the summary and remove what only the job needed."""
        self._write_json(self._summary, summary)
        shutil.rmtree(self.work, ignore_errors=True)  # a worker that outlived a killed job may still write there

    def shard(self, number: int) -> Path:
        """The rows of the input that a shard is."""
        return self.work / f"shard-{number:06d}.parquet"

    def result(self, number: int) -> Path:
        """A shard's results."""
        return self.results / f"part-{number:06d}.parquet"

    def error(self, number: int) -> Path:
        """A shard's errors."""
        return self.errors / f"part-{number:06d}.parquet"

    def done(self) -> set[int]:
        """The shards whose results are there."""
        return {int(match[1]) for path in self.results.iterdir() if (match := _PART.fullmatch(path.name))}

    def rows(self, number: int) -> int:
        """The rows of a shard that is done."""
        parts = [path for path in (self.result(number), self.error(number)) if path.exists()]
        return sum(pq.read_metadata(path).num_rows for path in parts)

    def failures(self) -> int:
        """The rows of shards that are done which could not be scored."""
        done = self.done()
        return sum(
            pq.read_metadata(path).num_rows
            for path in self.errors.iterdir()
            if (match := _PART.fullmatch(path.name)) and int(match[1]) in done
        )

    def publish(self, target: Path, write: Callable[[Path], None]) -> None:
        """Let ``write`` make a file aside, and give it its name once it is whole and on the disk.

        Raises:
            ScoringError: it cannot be written: the disk is full, say.
        """
        aside = self.work / f"{target.name}.{uuid.uuid4().hex}.part"
        try:
            write(aside)
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(aside, target)
            _sync(target.parent)
        except OSError as error:
            said = error.strerror or str(error).split("\n")[0]
            raise ScoringError(f"{target} cannot be written: {said}; what is done is kept: run this again") from error
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    def _write_json(self, target: Path, content: dict[str, Any]) -> None:
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

        def write(aside: Path) -> None:
            aside.write_text(text, encoding="utf-8", errors="surrogateescape")  # a path need not be UTF-8

        self.publish(target, write)


def _visible(folder: Path) -> Iterator[Path]:
    """What is in a folder, but for what a job writes before its manifest."""
    return (path for path in folder.iterdir() if path.name not in (".work", ".lock", "results", "errors"))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _sync(folder: Path) -> None:
    """Make a new name in a folder last through a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
