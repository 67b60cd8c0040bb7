"""Where an exported model comes from: told inside its file, so that it is known wherever the file goes."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neurips16.export.parity.report import PACKAGES, file_sha256
from neurips16.training.commit import source_commit

EXPORT = "export"  # the key of `export_facts` in ModelSpec.provenance
END_BYTES = 1 << 20


def export_facts(checkpoint: Path | None, fingerprint: dict[str, Any] | None, precision: str) -> dict[str, Any]:
    """What an export adds to the facts of the training, which the checkpoint carries (its preset among them).

    ``checkpoint`` is None for a method without training.
    """
    return {
        "checkpoint": checkpoint and checkpoint.name,
        "checkpoint_sha256": file_sha256(checkpoint) if checkpoint and checkpoint.is_file() else None,
        "data": fingerprint,
        "precision": precision,
        "commit": source_commit(),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }


def data_fingerprint(folder: Path) -> dict[str, Any]:
    """What tells one state of a data set from another, without reading gigabytes.

    Returns:
        ``files``, ``bytes``, and ``sha256`` over each file's path, length, and first and last mebibyte.
    """
    digest, count, total = hashlib.sha256(), 0, 0
    for path in sorted([folder] if folder.is_file() else (p for p in folder.rglob("*") if p.is_file())):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()!a} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(END_BYTES))
            if size > END_BYTES:
                file.seek(max(END_BYTES, size - END_BYTES))
                digest.update(file.read())
        count, total = count + 1, total + size
    return {"files": count, "bytes": total, "sha256": digest.hexdigest()}
