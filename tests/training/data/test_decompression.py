"""Compressed files of data sets: what passes a bound is refused before it is in memory."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import tracemalloc

import pytest

from neurips16.training.data.decompression import read_archive, read_file
from neurips16.training.data.deepmath.reader import Library, read_definitions, read_library
from neurips16.training.data.mnist.reader import read_idx
from neurips16.training.errors import DataError

PACKERS = {"xz": lzma.compress, "gz": gzip.compress}
MEGABYTE = 1 << 20


def member(name, content=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def tar(path, *members):
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["xz", "gz", "txt"])
def test_a_file_is_read_up_to_its_bound(tmp_path, kind):
    content = bytes(range(256)) * 10_000
    path = tmp_path / f"a.{kind}"
    path.write_bytes(PACKERS.get(kind, bytes)(content))
    assert read_file(path, most=len(content)) == content
    with pytest.raises(DataError, match=rf"a\.{kind} holds more than 2559999 bytes"):
        read_file(path, most=len(content) - 1)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_damaged_file_is_one_line(tmp_path, kind):
    whole = PACKERS[kind](bytes(range(256)) * 1000)
    for name, content in (("cut", whole[: len(whole) // 2]), ("other", b"hello"), ("flipped", whole[:60] + b"?" * 60)):
        path = tmp_path / f"{name}.{kind}"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.{kind} cannot be read") as caught:
            read_file(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        read_file(tmp_path / f"absent.{kind}")


def write_statements(folder, zeros):
    (folder / "statements.xz").write_bytes(lzma.compress(zeros))


def write_definitions(folder, zeros):
    (folder / "definitions.tsv.xz").write_bytes(lzma.compress(zeros))


def write_idx(folder, zeros):
    (folder / "a.gz").write_bytes(gzip.compress(zeros))


def write_archive(folder, zeros):
    tar(folder / "nndata.tar.xz", member("nndata/a", zeros))


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_statements, read_library),
        (write_archive, read_library),
        (write_definitions, lambda folder: read_definitions(folder, Library([], [], [], 0))),
        (write_idx, lambda folder: read_idx(folder / "a.gz")),
    ],
    ids=["statements", "archive", "definitions", "idx"],
)
def test_no_reader_decompresses_without_end(tmp_path, monkeypatch, write, read):
    """Each reader of a data set that decompresses, with bounds of a megabyte in place of a gigabyte."""
    write(tmp_path, bytes(100 * MEGABYTE))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < MEGABYTE
    for function in (read_file, read_archive):
        for name in ("most", "most_of_a_member"):
            if name in function.__kwdefaults__:
                monkeypatch.setitem(function.__kwdefaults__, name, MEGABYTE)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"more than 1048576 bytes|of 104857600 bytes, at most 1048576"):
            read(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".tar", ".tar.xz", ".tar.gz"])
def test_an_archive_gives_its_files_in_their_order(tmp_path, suffix):
    folder = tarfile.TarInfo("nndata")
    folder.type = tarfile.DIRTYPE
    path = tar(tmp_path / f"a{suffix}", (folder, b""), member("nndata/b", b"two"), member("nndata/a", b"one" * 9000))
    assert [(str(name), content) for name, content in read_archive(path)] == [
        ("nndata/b", b"two"),
        ("nndata/a", b"one" * 9000),
    ]


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE"])
def test_only_regular_files_are_read(tmp_path, kind):
    path = tar(tmp_path / "a.tar", member("x", type=getattr(tarfile, kind), linkname="/etc/passwd"))
    with pytest.raises(DataError, match="holds 'x', which is no regular file"):
        list(read_archive(path))


def test_a_sparse_file_whose_holes_are_terabytes_is_refused(tmp_path):
    info, _ = member("x", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**42)})
    info.size = 1
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="which is no regular file"):
        list(read_archive(tmp_path / "a.tar"))


def test_the_bounds_of_an_archive(tmp_path):
    path = tar(tmp_path / "a.tar.xz", *(member(str(i), bytes(100)) for i in range(10)))
    assert len(list(read_archive(path, most_members=10, most_of_a_member=100))) == 10
    with pytest.raises(DataError, match="holds more than 9 files"):
        list(read_archive(path, most_members=9))
    with pytest.raises(DataError, match="holds '0' of 100 bytes, at most 99"):
        list(read_archive(path, most_of_a_member=99))
    with pytest.raises(DataError, match="holds more than 5000 bytes"):
        list(read_archive(path, most=5000))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be read as a tar archive"):
        list(read_archive(path))
