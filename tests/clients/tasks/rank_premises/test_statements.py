import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurips16.clients.protocol.errors import InvalidInputError, InvalidStatementError
from neurips16.clients.tasks.rank_premises.statements import (
    Statement,
    check_characters,
    parse_all,
    read_conjecture,
    read_premises,
)

ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz()[],:!=>&~ ABC0123456789_")


@pytest.mark.parametrize(
    ("text", "name", "formula"),
    [
        ("fof(t1_x, axiom, (! [A] : p(A)) ).", "t1_x", "(! [A] : p(A))"),
        (" fof ( 'odd, name' , conjecture,p ) . \n", "'odd, name'", "p"),
        ("p(a, b)", "", "p(a, b)"),
        ("fof(a)", "", "fof(a)"),
        ("fof(t1_x, axiom, p).x", "", "fof(t1_x, axiom, p).x"),
        ("fof(t1_x,\n  axiom,\n  p &\n  q).", "t1_x", "p &\n  q"),
    ],
)
def test_parse(text, name, formula):
    statement = Statement.parse(text)
    assert (statement.name, statement.formula, statement.text) == (name, formula, text)


@given(st.text("abc()[],! =>", min_size=1).filter(str.strip))
def test_the_wrapper_hides_nothing(formula):
    bare, wrapped = Statement.parse(formula), Statement.parse(f"fof(t1, axiom, {formula} ).")
    assert wrapped.formula == bare.formula
    assert wrapped.code == bare.code == "".join(formula.split())
    assert wrapped.is_same_as(bare)


def test_sameness():
    one, two = Statement.parse("fof(a, axiom, p & q)."), Statement.parse("fof(b, lemma, p&q).")
    assert one.is_same_as(two)
    assert one.is_same_as(Statement.parse("fof(a, axiom, r)."))
    assert not one.is_same_as(Statement.parse("fof(c, axiom, r)."))
    assert not Statement.parse("p").is_same_as(Statement.parse("q"))


def test_several_statements_in_one():
    with pytest.raises(InvalidStatementError, match="premise 1 holds several"):
        parse_all(["p", "fof(a, axiom, p). fof(b, axiom, $false)."])


def test_place_of_a_wrong_character():
    with pytest.raises(InvalidStatementError, match=r"line 2 of f, column 16: .*'%' \(U\+0025\)") as caught:
        check_characters([Statement.parse("p"), Statement.parse("fof(%, axiom, p%).", where="line 2 of f")], ALPHABET)
    assert "more" not in str(caught.value)
    with pytest.raises(InvalidStatementError, match="f, line 3, column 2: "):
        check_characters([Statement.parse("p\n&\nq#", where="f")], ALPHABET)


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "file.p"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


def test_premises_keep_their_lines(file):
    statements = read_premises(file("\n% a comment\nfof(a, axiom, p).\n\n \t\n  q(b)  \r\nr\x0bs\n"))
    assert [(s.index, s.name, s.text) for s in statements] == [
        (2, "a", "fof(a, axiom, p)."),
        (5, "", "  q(b)  "),
        (6, "", "r\x0bs"),  # no editor sees a line's end there
    ]
    assert statements[0].where.startswith("line 3 of ")


def test_byte_order_mark_is_no_character(file):
    assert read_premises(file(b"\xef\xbb\xbfp\n"))[0].text == "p"


def test_conjecture_over_several_lines(file):
    statement = read_conjecture(file("% from a library\nfof(t1, axiom,\n  ( p\n  => q )).\n\n"))
    assert (statement.name, statement.code) == ("t1", "(p=>q)")


@pytest.mark.parametrize(
    ("read", "data", "text"),
    [
        (read_premises, b"", "no premises: .*file.p holds no statement"),
        (read_premises, b"\n \n%x\n", "no premises"),
        (read_premises, b"p\nfof(a, axiom, ).\n", "line 2 of .* is empty"),
        (read_premises, b"p\nq\n\xe9\n", r"not UTF-8: byte 0xe9 in line 3; convert it"),
        (read_conjecture, b" \n", "the conjecture is empty: .*file.p"),
        (read_conjecture, b"fof(a,axiom,p).\nfof(b,axiom,q).\n", "several statements"),
        (read_conjecture, b"\xff\xfe", "not UTF-8"),
    ],
)
def test_files_that_cannot_be_used(file, read, data, text):
    with pytest.raises(InvalidInputError, match=text) as caught:
        read(file(data))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InvalidInputError, match="nowhere cannot be read: No such file"):
        read_premises(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match="Is a directory"):
        read_conjecture(tmp_path)
