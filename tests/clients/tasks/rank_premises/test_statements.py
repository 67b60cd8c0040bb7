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
    read_problem,
)

ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz()[],:!=>&~ ABC0123456789_")


@pytest.mark.parametrize(
    ("text", "name", "formula"),
    [
        ("fof(t1_x, axiom, (! [A] : p(A)) ).", "t1_x", "(! [A] : p(A))"),
        (" fof ( 'odd, name' , conjecture,p ) . \n", "'odd, name'", "p"),
        ("p(a, b)", "", "p(a, b)"),
        ("fof(a)", "", "fof(a)"),
        ("fof(t1_x,\n  axiom,\n  p &\n  q).", "t1_x", "p & q"),
        ("fof(goal, conjecture, ! [A] : subset(A, A), file('x.p', goal)).", "goal", "! [A] : subset(A, A)"),
        ("fof(a, plain, p, inference(cn, [status(thm)], [b, c]), [useful(1)]).", "a", "p"),
        ("cnf(c1, axiom, p(X) | ~ q(Y,X) | X != a).", "c1", "! [X,Y] : (p(X) | ~ q(Y,X) | X != a)"),
        ("cnf(c1, axiom, (p | q)).", "c1", "(p | q)"),
        ("tff(a, axiom, ! [X: $i, Y : $i] : p(X, Y)).", "a", "! [X, Y] : p(X, Y)"),
        ("/* a\ncomment */ fof(a, axiom, % another\n p /* . */ & q).", "a", "p & q"),
        ("fof('it''s', axiom, p).", None, None),
        ("fof('it\\'s (', axiom, q('a, b).', \"x\")).", "'it\\'s ('", "q('a, b).', \"x\")"),
        ("fof(7, axiom, $true | a = b & c).", None, None),
        ("fof(7, axiom, ($true | a = 7) <=> ~ ! [X] : X != -1).", "7", "($true | a = 7) <=> ~ ! [X] : X != -1"),
    ],
)
def test_parse(text, name, formula):
    if name is None:
        with pytest.raises(InvalidStatementError, match="the statement, line 1, column "):
            Statement.parse(text)
        return
    statement = Statement.parse(text)
    assert (statement.name, statement.formula, statement.text) == (name, formula, text)


@given(st.text("abcX()[],! =>|~&'", min_size=1).filter(str.strip))
def test_the_wrapper_hides_nothing(formula):
    try:
        bare = Statement.parse(formula)
    except InvalidStatementError:
        return
    wrapped = Statement.parse(f"fof(t1, axiom, {formula} , file(x)).")
    assert wrapped.formula == bare.formula
    assert wrapped.code == bare.code == "".join(formula.split())
    assert wrapped.is_same_as(bare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fof(a, axiom, p", "line 1, column 16: expected '\\)', got the end"),
        ("fof(a, axiom,\n p &).", r"line 2, column 5: expected a formula or a term, got '\)'"),
        ("fof(a, axiom, p) fof(b, axiom, q).", r"column 18: expected '\.', got 'fof'"),
        ("fof(a, axiom, ).", r"column 15: expected a formula or a term"),
        ("fof(a, axioms, p).", "column 8: expected a role"),
        ("fof(a, axiom, p & q | r).", "column 21: expected brackets"),
        ("fof(a, axiom, X).", "column 16: expected = or !="),
        ("fof(a, axiom, 'p).", "column 15: a quote that does not end"),
        ("fof(a, axiom, p). /* x", "column 19: a comment that does not end"),
        ("thf(a, axiom, p @ q).", "column 17: the character '@'"),
        ("thf(a, axiom, p).", "column 1: expected fof, cnf, tff or include, got 'thf'"),
        ("fof(a, axiom, ! [X : $i] : p(X)).", "column 20: expected ',' or '\\]'"),
        ("some words that are none", "column 6: expected the end of the formula, got 'words'"),
        ("(" * 5000, "more than 200 formulas and terms within one another"),
        ("~ " * 5000 + "p", "more than 200"),
        ("f(" * 5000, "more than 200"),
    ],
)
def test_what_is_no_tptp_is_told_with_its_place(text, message):
    with pytest.raises(InvalidStatementError, match=message):
        Statement.parse(text)


PROBLEM = """%----- a problem
include('Axioms/SET.ax',[a1,'a 2']).
tff(p_type, type, p: $i > $o).
fof(local,hypothesis,
    ! [X] : ( p(X) => /* or */ q(X) ),
    file('x.p', local)).   cnf(c, axiom, r(X)).
fof(goal, conjecture,
    q(a)).
"""


def test_a_whole_problem_with_its_axioms(tmp_path, monkeypatch):
    path, library = tmp_path / "Problems/x.p", tmp_path / "library"
    for folder in (path.parent, library / "Axioms"):
        folder.mkdir(parents=True)
    path.write_text(PROBLEM)
    with pytest.raises(
        InvalidStatementError, match=r"x.p, line 2: the included file 'Axioms/SET.ax' is not there.*TPTP"
    ):
        read_problem(path)
    (library / "Axioms/SET.ax").write_text("include('more.ax').\nfof(a1,axiom,p(a)).\nfof(unused,axiom,$false).\n")
    (library / "Axioms/more.ax").write_text("fof('a 2',axiom,p(b)).\n")
    monkeypatch.setenv("TPTP", str(library))
    goal, axioms = read_problem(path)
    assert (goal.name, goal.formula) == ("goal", "q(a)")
    assert [(one.name, one.formula) for one in axioms] == [
        ("'a 2'", "p(b)"),
        ("a1", "p(a)"),
        ("local", "! [X] : ( p(X) => q(X) )"),
        ("c", "! [X] : (r(X))"),
    ]
    assert read_premises(path) == axioms
    assert read_conjecture(path) == goal
    for statement in axioms:  # what a statement is shown as says the same
        assert Statement.parse(statement.text).code == statement.code
    (library / "Axioms/more.ax").write_text("include('SET.ax').\n")
    with pytest.raises(InvalidStatementError, match=r"more.ax, line 1: .*SET.ax includes itself"):
        read_problem(path)
    (library / "Axioms/more.ax").write_text("")
    with pytest.raises(InvalidStatementError, match=r"x.p, line 2: .*SET.ax has no statement 'a 2'"):
        read_problem(path)


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
    with pytest.raises(InvalidStatementError, match=r"line 2 of f, column 17: .*\"'\" \(U\+0027\)") as caught:
        check_characters(
            [Statement.parse("p"), Statement.parse("fof(a, axiom, p&'#').", where="line 2 of f")], ALPHABET
        )
    assert "more" not in str(caught.value)
    with pytest.raises(InvalidStatementError, match="f, line 3, column 1: "):
        check_characters([Statement.parse("p\n&\n'#'", where="f")], ALPHABET)


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "file.p"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


def test_premises_keep_their_lines(file):
    statements = read_premises(file("\n% a comment\nfof(a, axiom, p).\n\n \t\n  q(b)  \r\nr(\x0bs)\n"))
    assert [(s.index, s.name, s.text) for s in statements] == [
        (2, "a", "fof(a, axiom, p)."),
        (5, "", "  q(b)  "),
        (6, "", "r(\x0bs)"),  # no editor sees a line's end there
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
        (read_premises, b"p\nfof(a, axiom, ).\n", "line 2 of .*file.p, column 15: expected a formula"),
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


def test_a_statement_of_a_hundred_thousand_symbols_is_read_and_a_deep_one_refused():
    wide = " & ".join(f"p{i}(X)" for i in range(100_000))
    assert Statement.parse(wide).code.count("&") == 99_999
    for deep in ("(" * 100_000 + "p" + ")" * 100_000, "p(" + "f(" * 100_000 + "a" + ")" * 100_001, "~" * 100_000 + "p"):
        with pytest.raises(InvalidStatementError, match="more than 200 formulas and terms within one another"):
            Statement.parse(deep)
