"""The demo's steps on real data sets, where they are: theorems of Mizar's library, blood cells, recordings."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

CONJECTURES = ("t3_xboole_1", "t28_xboole_1", "t8_xboole_1")  # Boolean properties of sets


def real_data_lines(data: Path, output: Path, loaded: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """A remark and the arguments of `neurips16` for each step that can be shown.

    Args:
        data: the folder of the data sets; one that is not there is left out.
        output: a folder to write to.
        loaded: models that the server has.
    """
    archive = data / "premises/deepmath/nndata.tar.xz"
    if "premise_encoder" in loaded and archive.is_file():
        yield from _premises(archive, output / "premises")
    index = data / "detection/BCCD/ImageSets/Main/test.txt"
    if "rfcn" in loaded and index.is_file():
        pictures = [str(index.parents[2] / "JPEGImages" / f"{name}.jpg") for name in index.read_text().split()[:3]]
        yield "blood cells that the detector was not trained on", ["detect", *pictures, "--draw", str(output / "cells")]
    recordings = sorted(map(str, (data / "demo/audio").glob("*.*")))
    if "sound_classifier" in loaded and recordings:
        yield "recordings", ["classify-sound", *recordings, "--top", "2"]


def _premises(archive: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Three theorems, each ranked against all that the three list, then one proved from what was ranked first."""
    folder.mkdir(parents=True, exist_ok=True)
    pool: dict[str, None] = {}
    remarks = {}
    for name, text in _conjectures(archive).items():
        conjecture, *listed = text.splitlines()
        (folder / f"{name}.p").write_text(conjecture[2:] + "\n")
        pool |= dict.fromkeys(line[2:] for line in listed)
        useful = [line[2:].split(",")[0].removeprefix("fof(") for line in listed if line[0] == "+"]
        remarks[name] = f"{name}: its known proof uses {', '.join(useful)}"
    premises = str(folder / "premises.p")
    Path(premises).write_text("\n".join(pool) + "\n")
    for name in CONJECTURES:
        conjecture = str(folder / f"{name}.p")
        yield remarks[name], ["rank-premises", "--conjecture", conjecture, "--premises", premises, "--top", "5"]
    conjecture = str(folder / f"{CONJECTURES[0]}.p")
    yield "a proof from what was ranked first", ["prove", "--conjecture", conjecture, "--premises", premises]


def _conjectures(archive: Path) -> dict[str, str]:
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if (name := Path(member.name).name) in CONJECTURES and (handle := tar.extractfile(member)) is not None:
                found[name] = handle.read().decode()
            if len(found) == len(CONJECTURES):
                break
    return {name: found[name] for name in CONJECTURES}
