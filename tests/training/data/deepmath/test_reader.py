from __future__ import annotations

import lzma
import tarfile

import pytest

from neurips16.training.data.deepmath.module import DeepMathData
from neurips16.training.data.deepmath.reader import (
    normalise,
    read_definitions,
    read_library,
    read_proofs,
    split_of,
    split_statement,
)
from neurips16.training.errors import DataError


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("fof(t1_a, axiom,  (! [A] : p(A) ) ).", "t1_a", "(![A]:p(A))"),
        (" cnf( c , negated_conjecture , p | q ) .\n", "c", "p|q"),
        ("p(A, B) & q", None, "p(A,B)&q"),
        ("fof(broken, axiom, p", None, "fof(broken,axiom,p"),
    ],
)
def test_a_statement_is_read_with_and_without_its_wrapper(line, name, text):
    assert split_statement(line)[0] == name
    assert normalise(line) == text


def test_the_library_keeps_library_order_and_both_kinds_of_premises(deepmath_folder):
    library = read_library(deepmath_folder)
    assert library.ordered == len(library.names) == 60
    assert library.names[3] == "t3_art"
    assert len(library.conjectures) == 40
    for conjecture in library.conjectures:
        assert conjecture.useful.size
        assert conjecture.useful.max() < conjecture.statement
        symbol = f"k{conjecture.statement % 8}_art"
        assert all(symbol in library.statements[i] for i in conjecture.useful)
        assert not any(symbol in library.statements[i] for i in conjecture.useless)


def test_an_archive_reads_like_the_folder(deepmath_folder, tmp_path):
    with tarfile.open(tmp_path / "nndata.tar.xz", "w:xz") as tar:
        tar.add(deepmath_folder / "nndata", "nndata")
    (tmp_path / "mizar40").mkdir()
    packed = lzma.compress((deepmath_folder / "mizar40/statements").read_bytes())
    (tmp_path / "mizar40/statements.used.xz").write_bytes(packed)
    one, other = read_library(deepmath_folder), read_library(tmp_path)
    assert one.names == other.names
    assert [c.name for c in one.conjectures] == [c.name for c in other.conjectures]


def test_the_split_is_fixed_by_the_name_and_near_its_shares():
    assert split_of("t3_xboole_1") == split_of("t3_xboole_1")
    splits = [split_of(f"t{i}_x") for i in range(5000)]
    assert 0.08 < splits.count("test") / 5000 < 0.12
    assert 0.01 < splits.count("validation") / 5000 < 0.03


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "neither nndata/ nor nndata.tar.xz"),
        ({"nndata/a": "+ fof(a, axiom, p).\n"}, "must start with 'C '"),
        ({"nndata/a": "C fof(a, axiom, p).\n* fof(b, axiom, p).\n"}, r"'\+ ' or '- '"),
        ({"nndata/a": "C p & q\n"}, "expected `fof"),
    ],
)
def test_another_layout_is_refused_with_what_was_expected(tmp_path, files, complaint):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=complaint):
        read_library(tmp_path)


def test_definitions_name_statements_of_the_library(deepmath_folder, tmp_path):
    library = read_library(deepmath_folder)
    assert read_definitions(deepmath_folder, library) == {"k0_art": library.statements[0]}
    with pytest.raises(DataError, match=r"definitions\.tsv"):
        read_definitions(tmp_path, library)


@pytest.mark.data
@pytest.mark.slow
def test_the_real_set_has_the_counts_of_its_description(real_deepmath):
    library = read_library(real_deepmath)
    assert len(library.names) == library.ordered == 77_212
    assert len(library.conjectures) == 31_924
    assert all(c.useful.max() < c.statement for c in library.conjectures)


def test_proofs_that_were_found_become_positives(deepmath_folder, tmp_path):
    library = read_library(deepmath_folder)
    trained = next(c for c in library.select("train") if len(c.useless) > 1)
    tested = library.select("test")[0]
    names = library.names
    wrongly_useless = names[trained.useless[0]]
    (tmp_path / "proofs").write_text(
        f"{trained.name} {wrongly_useless} unknown_name {names[-1]}\n"  # the last stands after the conjecture
        f"{names[5]} {names[2]}\n{tested.name} {names[0]}\n\nunknown {names[0]}\n"
    )
    proofs = read_proofs(tmp_path / "proofs", library)
    assert {p.name: [names[i] for i in p.useful] for p in proofs} == {
        trained.name: [wrongly_useless],
        names[5]: [names[2]],
        tested.name: [names[0]],
    }
    data = DeepMathData(str(deepmath_folder), from_proofs=str(tmp_path / "proofs"))
    known = {c.name: c for c in data.library.conjectures}
    assert trained.useless[0] in known[trained.name].useful
    assert trained.useless[0] not in known[trained.name].useless
    assert set(trained.useful) <= set(known[trained.name].useful)
    assert (names[5] in known) == (split_of(names[5]) == "train")
    assert known[tested.name].useful.tolist() == tested.useful.tolist()


def test_a_file_without_proofs_is_refused(deepmath_folder, tmp_path):
    library = read_library(deepmath_folder)
    (tmp_path / "proofs").write_text("nothing of ours\n")
    for path, what in ((tmp_path / "proofs", "no proof of a statement"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(DataError, match=what):
            read_proofs(path, library)
