"""The shipped model on theories whose symbols it never saw: small ones of our own, in the manner of TPTP."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="needs the serving extra")
MODELS = Path(__file__).parents[4] / "serving/models"
pytestmark = pytest.mark.skipif(
    not (MODELS / "premise_encoder").is_dir(), reason=f"needs the shipped models in {MODELS}"
)

# Ten statements each, then conjectures with the statements that a proof needs.
SETS = {
    "subset": "! [A, B] : (subset(A, B) <=> ! [X] : (in(X, A) => in(X, B)))",
    "empty": "! [X] : ~ in(X, empty)",
    "union": "! [A, B, X] : (in(X, union(A, B)) <=> (in(X, A) | in(X, B)))",
    "intersection": "! [A, B, X] : (in(X, intersection(A, B)) <=> (in(X, A) & in(X, B)))",
    "equality": "! [A, B] : ((subset(A, B) & subset(B, A)) => A = B)",
    "power": "! [A, X] : (in(X, power(A)) <=> subset(X, A))",
    "single": "! [A, X] : (in(X, single(A)) <=> X = A)",
    "pair": "! [A, B, X] : (in(X, pair(A, B)) <=> (X = A | X = B))",
    "finite_single": "! [A] : finite(single(A))",
    "finite_union": "! [A, B] : ((finite(A) & finite(B)) => finite(union(A, B)))",
}
SET_GOALS = {
    "! [A] : subset(A, A)": ["subset"],
    "! [A] : subset(empty, A)": ["subset", "empty"],
    "! [A] : in(A, power(A))": ["power"],
    "! [A, B] : subset(intersection(A, B), A)": ["subset", "intersection"],
    "! [A] : in(A, single(A))": ["single"],
    "! [A, B] : finite(union(single(A), single(B)))": ["finite_single", "finite_union"],
    "! [A, B] : in(A, pair(A, B))": ["pair"],
}
FAMILY = {
    "parent_mother": "![X,Y]:(mother_of(X,Y)=>parent_of(X,Y))",
    "parent_father": "![X,Y]:(father_of(X,Y)=>parent_of(X,Y))",
    "grandparent": "![X,Y,Z]:((parent_of(X,Y)&parent_of(Y,Z))=>grandparent_of(X,Z))",
    "ann": "mother_of(ann,bob)",
    "bob": "father_of(bob,cat)",
    "likes": "![X]:(likes(X,music)=>owns(X,radio))",
    "dan": "likes(dan,music)",
    "tall": "![X,Y]:(taller(X,Y)=>~taller(Y,X))",
    "eve": "taller(eve,dan)",
    "city": "![X]:(lives_in(X,oslo)=>lives_in(X,norway))",
}
FAMILY_GOALS = {
    "owns(dan,radio)": ["likes", "dan"],
    "~taller(dan,eve)": ["tall", "eve"],
    "parent_of(ann,bob)": ["parent_mother", "ann"],
    "lives_in(fay,oslo)=>lives_in(fay,norway)": ["city"],
}
GROUPS = {
    "associative": "fof(associative,axiom,![X,Y,Z]:multiply(multiply(X,Y),Z)=multiply(X,multiply(Y,Z))).",
    "left_identity": "fof(left_identity,axiom,![X]:multiply(identity,X)=X).",
    "left_inverse": "fof(left_inverse,axiom,![X]:multiply(inverse(X),X)=identity).",
    "commutator": "fof(commutator,axiom,![X,Y]:bracket(X,Y)=multiply(multiply(inverse(X),inverse(Y)),multiply(X,Y))).",
    "order": "fof(order,axiom,![X]:(finite_order(X)<=>?[N]:power(X,N)=identity)).",
    "power_zero": "fof(power_zero,axiom,![X]:power(X,zero)=identity).",
    "power_next": "fof(power_next,axiom,![X,N]:power(X,succ(N))=multiply(X,power(X,N))).",
    "less": "fof(less,axiom,![N]:less(N,succ(N))).",
    "transitive": "fof(transitive,axiom,![A,B,C]:((less(A,B)&less(B,C))=>less(A,C))).",
    "even": "fof(even,axiom,![N]:(even(N)<=>~even(succ(N)))).",
}
GROUP_GOALS = {
    "fof(goal,conjecture,![N]:less(N,succ(succ(N)))).": ["less", "transitive"],
    "fof(goal,conjecture,even(zero)=>~even(succ(zero))).": ["even"],
    "fof(goal,conjecture,![X]:finite_order(X)).": ["order"],
    "fof(goal,conjecture,![X]:power(X,succ(zero))=multiply(X,identity)).": ["power_next", "power_zero"],
}
CASES = [
    pytest.param(theory, goal, needed, id=goal)
    for theory, goals in ((SETS, SET_GOALS), (FAMILY, FAMILY_GOALS), (GROUPS, GROUP_GOALS))
    for goal, needed in goals.items()
]


@pytest.fixture(scope="module")
def local():
    from neurips16.clients.in_process import LocalClient

    return LocalClient(MODELS)


@pytest.mark.parametrize(("theory", "goal", "needed"), CASES)
def test_a_needed_premise_is_among_the_first_three_of_ten(local, theory, goal, needed):
    assert len(theory) == 10
    first = _first(local, theory, goal)
    assert set(first) & set(needed), first


def test_nearly_all_needed_premises_are_among_the_first_three(local):
    """All but one: that an order is transitive shares one symbol with its goal, and other statements share two."""
    found = [len(set(_first(local, *case.values[:2])) & set(case.values[2])) for case in CASES]
    assert sum(found) >= sum(len(case.values[2]) for case in CASES) - 1


def test_a_conjecture_unlike_anything_in_training_is_said_to_be_so(local):
    strange = local.rank_premises("glorp(zig,zag)=>frobs(zag)", list(FAMILY.values()))
    assert strange.known_share == 0
    assert strange.unlike_training
    mizar = local.rank_premises("![A]:(r1_tarski(A,k1_xboole_0)=>A=k1_xboole_0)", list(FAMILY.values()))
    assert mizar.known_share == pytest.approx(1)
    assert not mizar.unlike_training
    assert local.rank_premises("glorp(zig)", list(FAMILY.values()), method="neighbours").known_share is None


def _first(local, theory, goal):
    return [list(theory)[one.index] for one in local.rank_premises(goal, list(theory.values()))[:3]]
