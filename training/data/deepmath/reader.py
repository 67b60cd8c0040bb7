"""DeepMath premise selection: reads the public layout of the Mizar40 data set, splits it, and makes training batches.

The layout (repository JUrban/deepmath): ``nndata/`` or ``nndata.tar.xz`` with one file per conjecture, whose first
line is ``C STATEMENT`` and whose other lines are ``+ STATEMENT`` (needed in a proof) and ``- STATEMENT`` (not needed,
but ranked high by nearest neighbours); ``mizar40/statements`` (or ``statements.used``, plain or .xz) with all
statements, one a line, in library order; ``definitions.tsv`` (or .xz), the statement that defines each symbol.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurips16.training.data.decompression import MAX_MEMBER_BYTES, read_archive, read_file
from neurips16.training.errors import DataError

TEST_SHARE, VALIDATION_SHARE = 10, 2  # per cent of the conjectures; DeepMath holds out 10 %
_STATEMENT = re.compile(r"\s*(?:fof|cnf)\(\s*([^,\s]+)\s*,\s*[a-z_]+\s*,(.*)\)\s*\.\s*", re.DOTALL)
_ORDER_FILES = ("mizar40/statements", "mizar40/statements.used", "statements", "statements.used")


def split_statement(line: str) -> tuple[str | None, str]:
    """``fof(NAME, role, FORMULA).`` as (NAME, FORMULA); a bare formula as (None, FORMULA)."""
    match = _STATEMENT.fullmatch(line)
    return (match[1], match[2]) if match else (None, line)


def normalise(line: str) -> str:
    """The text that a model reads: the formula of a statement without its wrapper and without white space."""
    return "".join(split_statement(line)[1].split())


def split_of(name: str) -> str:
    """The split, "train", "validation" or "test", to which a conjecture belongs: fixed by a hash of its name."""
    percent = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
    if percent < TEST_SHARE:
        return "test"
    return "validation" if percent < TEST_SHARE + VALIDATION_SHARE else "train"


@dataclass(frozen=True)
class Conjecture:
    """A conjecture with its useful and its useless premises, as indices into the library's statements."""

    name: str
    statement: int
    useful: np.ndarray  # int32 [U]
    useless: np.ndarray  # int32 [V]


@dataclass(frozen=True)
class Library:
    """All statements, those in library order first, and the conjectures over them.

    ``ordered`` counts the statements whose place in library order is known: statement ``i < ordered`` may be used by
    a conjecture whose statement is ``j`` if ``i < j``.
    """

    names: list[str]
    statements: list[str]  # as written, one `fof(…).` each
    conjectures: list[Conjecture]
    ordered: int

    def select(self, split: str) -> list[Conjecture]:
        """The conjectures of "train", "validation" or "test", or of "all"."""
        if split not in ("train", "validation", "test", "all"):
            raise DataError(f"split is one of train, validation, test, all; got {split!r}")
        return [c for c in self.conjectures if split in ("all", split_of(c.name))]


def read_library(folder: str | Path) -> Library:
    """Read a data set in its public layout.

    Raises:
        DataError: the folder has no ``nndata``, or a line is of another form.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; expected one that holds nndata/ or nndata.tar.xz")
    names: list[str] = []
    statements: list[str] = []
    index: dict[str, int] = {}

    def add(line: str, where: str) -> int:
        name, _ = split_statement(line)
        if name is None:
            raise DataError(f"{where}: expected `fof(name, role, formula).`, got {line[:60]!r}")
        if name not in index:
            index[name] = len(names)
            names.append(name)
            statements.append(line.strip())
        return index[name]

    for line_number, line in enumerate(_library_order(folder), start=1):
        if line.strip() and not line.startswith("%"):
            add(line, f"line {line_number} of the statements in library order")
    ordered = len(names)
    conjectures = []
    for file_name, text in _conjecture_files(folder):
        lines = text.splitlines()
        if not lines or not lines[0].startswith("C "):
            raise DataError(f"nndata/{file_name}: the first line must start with 'C '")
        groups: dict[str, list[int]] = {"+": [], "-": []}
        for line in lines[1:]:
            if line[:2] not in ("+ ", "- "):
                raise DataError(f"nndata/{file_name}: a line must start with '+ ' or '- ', got {line[:20]!r}")
            groups[line[0]].append(add(line[2:], f"nndata/{file_name}"))
        statement = add(lines[0][2:], f"nndata/{file_name}")
        useful, useless = (np.array(groups[sign], np.int32) for sign in "+-")
        conjectures.append(Conjecture(names[statement], statement, useful, useless))
    if not conjectures:
        raise DataError(f"{folder} holds no conjecture: expected nndata/ or nndata.tar.xz with one file per conjecture")
    return Library(names, statements, sorted(conjectures, key=lambda c: c.name), ordered)


def _library_order(folder: Path) -> Iterable[str]:
    for stem in _ORDER_FILES:
        for path in (folder / stem, folder / f"{stem}.xz"):
            if path.is_file():
                return _text(read_file(path), str(path)).splitlines()
    return ()


def _conjecture_files(folder: Path) -> Iterator[tuple[str, str]]:
    if (unpacked := folder / "nndata").is_dir():
        for path in sorted(unpacked.iterdir()):
            yield path.name, _text(read_file(path, most=MAX_MEMBER_BYTES), str(path))
        return
    for archive in (folder / "nndata.tar.xz", folder / "nndata.tar.gz", folder / "nndata.tar"):
        if archive.is_file():
            for name, content in read_archive(archive):
                yield name.name, _text(content, f"{archive}: {name}")
            return
    raise DataError(f"{folder} has neither nndata/ nor nndata.tar.xz: see the layout in the data set's own README")


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8: byte 0x{content[error.start]:02x} at {error.start}") from error


def read_definitions(folder: str | Path, library: Library) -> dict[str, str]:
    """The statement that defines each symbol, from ``definitions.tsv`` or ``definitions.tsv.xz``.

    Raises:
        DataError: the folder has no such file.
    """
    for path in (Path(folder) / "definitions.tsv", Path(folder) / "definitions.tsv.xz"):
        if path.is_file():
            text = _text(read_file(path), str(path))
            break
    else:
        raise DataError(f"{folder} has no definitions.tsv(.xz): definition embeddings need it")
    index = {name: i for i, name in enumerate(library.names)}
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return {row[0]: library.statements[index[row[1]]] for row in rows if len(row) > 1 and row[1] in index}


def read_proofs(path: str | Path, library: Library) -> list[Conjecture]:
    """Proofs that were found, as `neurips16 prove --log` writes them: a statement's name and those of its premises.

    Names that the library lacks are passed over, as are premises that stand after the statement, and statements that
    are then without a premise. Of several proofs of a statement, all premises count.

    Raises:
        DataError: the file cannot be read, or has no proof of a statement of the library.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the proofs {path} cannot be read as text: {error}") from error
    index = {name: i for i, name in enumerate(library.names)}
    found: dict[int, set[int]] = {}
    for line in text.splitlines():
        name, *premises = line.split() or [""]
        if name in index:
            used = {index[p] for p in premises if p in index}
            found.setdefault(index[name], set()).update(p for p in used if p < index[name])
    proofs = [
        Conjecture(library.names[statement], statement, np.array(sorted(used), np.int32), np.empty(0, np.int32))
        for statement, used in sorted(found.items())
        if used
    ]
    if not proofs:
        raise DataError(
            f"{path} has no proof of a statement of the library: expected lines `NAME PREMISE PREMISE ...`, as "
            "`neurips16 prove --log` writes them"
        )
    return proofs


def with_proofs(library: Library, proofs: Iterable[Conjecture]) -> Library:
    """A library whose conjectures also need the premises of proofs that were found; new ones become conjectures."""
    known = {c.statement: c for c in library.conjectures}
    for proof in proofs:
        old = known.get(proof.statement, proof)
        useful = np.union1d(old.useful, proof.useful).astype(np.int32)
        known[proof.statement] = Conjecture(old.name, old.statement, useful, np.setdiff1d(old.useless, useful))
    return replace(library, conjectures=sorted(known.values(), key=lambda c: c.name))
