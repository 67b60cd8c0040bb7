import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurips16.clients.tasks.rank_premises.statements import Statement, parse_all
from neurips16.clients.tasks.rank_premises.tptp import find_numerals, rename_numerals, used_axioms, write_problem

WORD = re.compile(r"[A-Za-z0-9_]+")


@pytest.mark.parametrize(
    ("formula", "renamed"),
    [
        ("k1_x(7)=1", "k1_x(n7)=n1"),
        ("p(10,A1,b2,3_,_4,5a)", "p(n10,A1,b2,3_,_4,5a)"),
        ("~(v1(0))", "~(v1(n0))"),
        ("p('a 1', 1)", "p('a 1', n1)"),
        ("$p(1)", "$p(n1)"),
        ("12", "n12"),
        ("", ""),
    ],
)
def test_bare_numerals_get_a_prefix(formula, renamed):
    assert rename_numerals(formula) == renamed


@given(st.lists(st.one_of(st.from_regex(r"[A-Za-z0-9_]{1,4}", fullmatch=True), st.sampled_from("(),=&~ "))))
def test_renaming_touches_numerals_only(parts):
    formula = " ".join(parts)
    renamed = rename_numerals(formula)
    before, after = WORD.findall(formula), WORD.findall(renamed)
    assert after == ["n" + word if word.isdecimal() else word for word in before]
    assert WORD.sub("", formula) == WORD.sub("", renamed)
    assert rename_numerals(renamed) == renamed
    assert list(find_numerals(formula)) == [word for word in before if word.isdecimal()]


def problem(conjecture, *premises):
    return write_problem(Statement.parse(conjecture), parse_all(premises))


def test_problem():
    got = problem("fof(t1, axiom, p(2)).", "fof(d1, axiom, q(1) & p(10)).", "r(2)")
    assert got.text.splitlines() == [
        "fof(t1, conjecture, p(n2)).",
        "fof(d1, axiom, q(n1) & p(n10)).",
        "fof(premise_1, axiom, r(n2)).",
        "fof(distinct_1_2, axiom, n1 != n2).",
        "fof(distinct_1_10, axiom, n1 != n10).",
        "fof(distinct_2_10, axiom, n2 != n10).",
    ]
    assert got.places == {"d1": 0, "premise_1": 1}


def test_symbols_that_look_like_renamed_numerals_stay_apart():
    got = problem("p(n7)", "p(7)", "nn7")
    assert got.text.splitlines()[:3] == [
        "fof(the_conjecture, conjecture, p(n7)).",
        "fof(premise_0, axiom, p(nnn7)).",
        "fof(premise_1, axiom, nn7).",
    ]


def test_names_that_are_taken_or_not_allowed():
    got = problem(
        "fof(a, axiom, p).", "fof(b, axiom, q).", "fof(b, axiom, r).", "fof(b, lemma, s).", "fof(a, axiom, t)."
    )
    assert got.places == {"b": 0, "premise_1": 1, "premise_2": 2, "premise_3": 3}
    clash = problem("p", "fof(premise_1, axiom, 1=1).", "2=2", "fof(distinct_1_2, axiom, q).")
    assert clash.places == {"premise_1": 0, "premise_1_": 1, "distinct_1_2": 2}
    assert "fof(distinct_1_2_, axiom, n1 != n2)." in clash.text


PROOF = """\
fof(goal, conjecture, q(n1), file('/tmp/x, y/problem.p', goal)).
fof(a2, axiom, ![X1]:(p(X1)=>q(X1)), file('problem.p', a2)).
fof(stray, axiom, r(a2,a1), file('problem.p', stray)).
fof(a1, axiom, p(n1), file('problem.p', a1)).
fof(c_0_3, negated_conjecture, ~q(n1), inference(fof_simplification,[status(thm)],[inference(n,[status(cth)],[goal])])).
cnf(c_0_6, plain, (q(X1)|~p(X1)), inference(split_conjunct,[status(thm)],[a2])).
cnf(c_0_8, negated_conjecture, ($false), inference(cn,[status(thm)],[inference(rw,[],[c_0_3, c_0_6]), a1]), ['proof']).
# SZS output end
"""


def test_only_what_the_proof_depends_on_is_used():
    assert used_axioms(PROOF.splitlines()) == ["a2", "a1"]
    assert used_axioms(PROOF.splitlines()[:-2]) == []  # nothing derives $false
