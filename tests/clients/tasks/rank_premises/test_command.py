import json
import shutil

import pytest

GOAL = "fof(goal, axiom, (! [A] : (p(A, 1) => r(A, 1)) ) )."
PREMISES = """\
fof(useless, axiom, (! [A] : s(A)) ).

fof(first, axiom, (! [A, B] : (p(A, B) => q(A, B)) ) ).
fof(second, axiom, (! [A, B] : (q(A, B) => r(A, B)) ) ).
fof(later, axiom, t(2)).
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "goal.p").write_text(GOAL)
    (tmp_path / "premises.p").write_text(PREMISES)
    return tmp_path


@pytest.fixture
def rank(run_command, server, files):
    """Run `rank-premises`; options in place of or beside the usual ones."""

    def run(*more, conjecture="goal.p", premises="premises.p"):
        usual = ["--url", server.url, "--conjecture", files / conjecture]
        return run_command("rank-premises", *usual, *(["--premises", files / premises] if premises else []), *more)

    return run


def test_json_is_one_object_with_zero_based_lines(rank, client):
    status, out, err = rank("--json")
    assert (status, err) == (0, "")
    (line,) = out.splitlines()
    answer = json.loads(line)
    assert list(answer) == ["premises"]
    assert [list(p) for p in answer["premises"]] == [["rank", "score", "index", "name", "text"]] * 4
    assert [p["rank"] for p in answer["premises"]] == [1, 2, 3, 4]
    assert sorted(p["index"] for p in answer["premises"]) == [0, 2, 3, 4]
    lines = PREMISES.split("\n")
    assert all(p["text"] == lines[p["index"]] for p in answer["premises"])
    scores = [p["score"] for p in answer["premises"]]
    assert scores == sorted(scores, reverse=True)


def test_top_and_the_table(rank):
    status, out, err = rank("--top", 2)
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert rows[0] == ["rank", "score", "index", "premise"]
    assert [row[0] for row in rows[2:]] == ["1", "2"]
    assert "fof(" in rows[2][3]


def test_a_long_statement_takes_no_room_from_the_other_columns(rank, files):
    (files / "wide.p").write_text("\n".join("p" * 200 + str(i) for i in range(12)))
    _, out, _ = rank(premises="wide.p")
    heading, _, *rows = [line for line in out.splitlines() if line.strip()]
    assert heading.split() == ["rank", "score", "index", "premise"]
    assert [row.split()[0] for row in rows] == [str(i) for i in range(1, 13)]
    assert sorted(int(row.split()[2]) for row in rows) == list(range(12))
    assert all(row.endswith("pp…") and len(row) <= 200 for row in map(str.rstrip, rows))


def test_url_from_the_environment(run_command, server, files, monkeypatch):
    monkeypatch.setenv("NEURIPS16_URL", server.url)
    arguments = ["--conjecture", files / "goal.p", "--premises", files / "premises.p", "--json"]
    assert run_command("rank-premises", *arguments)[0] == 0


def test_index_and_ranking_with_it(rank, run_command, server, files):
    status, out, err = run_command("index-premises", files / "premises.p", files / "index", "--url", server.url)
    assert (status, err) == (0, "")
    assert "holds 4 premises, 4 of them new (build c0ffee)" in out
    indexed = json.loads(rank("--index", files / "index", "--json", premises=None)[1])
    direct = json.loads(rank("--json")[1])
    assert [p["text"] for p in indexed["premises"]] == [p["text"] for p in direct["premises"]]
    with (files / "premises.p").open("a") as file:
        file.write("fof(new, axiom, u(3)).\n")
    _, out, _ = run_command("index-premises", files / "premises.p", files / "index", "--url", server.url)
    assert "holds 5 premises, 1 of them new" in out


def test_known_proofs_are_told_to_an_index_and_change_the_ranking(rank, run_command, server, files):
    (files / "proofs.txt").write_text("% learnt\n\nfirst later later\nfirst nobody\n")
    usual = ["index-premises", files / "premises.p", files / "index", "--url", server.url]
    status, out, _ = run_command(*usual, "--proofs", files / "proofs.txt")
    assert status == 0
    assert "1 proofs tell it 1 new uses of premises" in out

    def order(method):
        options = ["--index", files / "index", "--json", "--method", method]
        return [p["name"] for p in json.loads(rank(*options, premises=None)[1])["premises"]]

    assert order("neighbours")[:2] == ["first", "later"]
    fails(rank("--method", "magic"), 2, "method is one of hybrid, network, neighbours")
    (files / "proofs.txt").write_text("first\n")
    fails(run_command(*usual, "--proofs", files / "proofs.txt"), 2, "line 1 of")


def test_what_is_cut_off_is_said_on_stderr(rank, run_command, server, files):
    server.max_length = 64
    (files / "long.p").write_text("p\n" + "q" * 65 + "\n\n" + "r" * 66 + "\n" + "s" * 67 + "\n")
    status, out, err = rank("--json", premises="long.p")
    assert status == 0
    assert len(json.loads(out)["premises"]) == 4
    assert err.startswith("note: 3 premises are longer than the 64 characters")
    assert f"lines 2, 4-5 of {files / 'long.p'}" in err
    _, _, err = run_command("index-premises", files / "long.p", files / "index", "--url", server.url)
    assert "lines 2, 4-5 of" in err
    _, _, err = rank("--index", files / "index", "--json", premises=None)
    assert "3 of the 4 premises in" in err
    (files / "long_goal.p").write_text("p" * 100)
    assert rank("--json", conjecture="long_goal.p")[2].startswith("note: the conjecture is longer than the 64")


def fails(answer, status, text):
    """One line on stderr, nothing on stdout."""
    assert answer[0] == status, answer
    assert answer[1] == ""
    (line,) = answer[2].splitlines()
    assert line.startswith("error: ")
    assert text in line, line


def test_bad_files(rank, files):
    (files / "empty.p").write_text("\n")
    (files / "latin.p").write_bytes(b"p\n\xe9\n")
    (files / "wrong.p").write_text("p(a)\nq(a) # r\n")
    fails(rank(conjecture="empty.p"), 2, "the conjecture is empty")
    fails(rank(premises="empty.p"), 2, "no premises")
    fails(rank(premises="latin.p"), 2, "is not UTF-8: byte 0xe9 in line 2")
    fails(rank(conjecture="latin.p"), 2, "is not UTF-8")
    fails(rank(premises="wrong.p"), 2, "line 2 of")
    fails(rank(premises="wrong.p"), 2, "wrong.p, column 6: the character '#' (U+0023) is none of TPTP's")
    fails(rank(premises="nowhere.p"), 2, "nowhere.p cannot be read: No such file")
    fails(rank(conjecture="nowhere.p"), 2, "No such file")
    fails(rank("--index", files), 2, "either --premises FILE or --index INDEX")
    fails(rank(premises=None), 2, "either --premises FILE or --index INDEX")
    fails(rank("--index", files / "nowhere", premises=None), 2, "make one with `neurips16 index-premises`")


def test_bad_servers(rank, run_command, server, files):
    common = ["--conjecture", files / "goal.p", "--premises", files / "premises.p", "--url"]
    fails(run_command("rank-premises", *common, "localhost:1"), 1, "start one with `neurips16 serve`")
    fails(run_command("rank-premises", *common, "http://x:1"), 2, "HOST:PORT")
    server.faults.unloaded = {"premise_encoder"}
    fails(rank(), 1, "has model 'premise_encoder', but not loaded")
    server.faults.unloaded, server.faults.missing = set(), {"premise_encoder"}
    fails(rank(), 1, "has no model 'premise_encoder'")


def test_index_of_another_build(rank, run_command, server, files):
    run_command("index-premises", files / "premises.p", files / "index", "--url", server.url)
    server.faults.parameters = {"build": "f00d"}
    fails(rank("--index", files / "index", premises=None), 2, "was made by build c0ffee")
    answer = run_command("index-premises", files / "premises.p", files / "index", "--url", server.url)
    fails(answer, 2, "the server holds build f00d: make a new index")


needs_e = pytest.mark.skipif(shutil.which("eprover") is None, reason="needs the E prover: apt-get install eprover")


@needs_e
def test_prove(run_command, server, files):
    usual = ["prove", "--url", server.url, "--conjecture", files / "goal.p", "--premises", files / "premises.p"]
    status, out, err = run_command(*usual, "--json", "--top", "4,100")
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert answer["proved"] is True
    assert answer["k"] == 4
    assert [(a["k"], a["status"]) for a in answer["attempts"]] == [(4, "Theorem")]  # there are no more than four
    assert {p["name"]: p["index"] for p in answer["premises"]} == {"first": 2, "second": 3}
    assert "$false" in answer["proof"]
    run_command(*usual, "--log", files / "proofs.txt")
    run_command(*usual, "--log", files / "proofs.txt")
    assert (files / "proofs.txt").read_text() == "goal first second\n" * 2
    status, out, _ = run_command(*usual)
    assert status == 0
    assert "goal from the best 4: Theorem" in out
    assert "The proof uses 2 premises:" in out
    assert "fof(second" in out


@needs_e
def test_prove_with_an_index_uses_nothing_later(run_command, server, files):
    second = "fof(second, axiom, (! [A, B] : (q(A, B) => r(A, B)) ) ).\n"
    (files / "library.p").write_text(PREMISES.replace(second, "") + GOAL + "\n" + second)
    run_command("index-premises", files / "library.p", files / "index", "--url", server.url)
    usual = ["prove", "--url", server.url, "--conjecture", files / "goal.p", "--index", files / "index"]
    status, out, err = run_command(*usual, "--json", "--top", "1,2,50", "--timeout-s", "2")
    assert err.startswith("note: 2 premises were left out")
    answer = json.loads(out)
    assert status == 3  # of its own: nothing went wrong, but there is no proof
    assert answer["proved"] is False
    assert answer["k"] is None
    assert answer["premises"] == []
    assert [a["k"] for a in answer["attempts"]] == [1, 2, 3]
    (files / "goal.p").write_text(GOAL.replace("goal", "other_name"))  # not in the library: all of it may be used
    assert "Not proved" in run_command(*usual, "--top", "1")[1]
    answer = json.loads(run_command(*usual, "--json")[1])
    assert [p["name"] for p in answer["premises"]] in (["first", "second"], ["second", "first"])


def test_prove_without_e(run_command, server, files, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    usual = ["--url", server.url, "--conjecture", files / "goal.p", "--premises", files / "premises.p"]
    fails(run_command("prove", *usual), 2, "apt-get install eprover")
    assert not server.faults.calls  # it is said before anything is encoded


@needs_e
@pytest.mark.parametrize("top", ["", "0", "64,", "a", "-1"])
def test_tops_that_are_none(run_command, server, files, top):
    usual = ["--url", server.url, "--conjecture", files / "goal.p", "--premises", files / "premises.p"]
    fails(run_command("prove", *usual, f"--top={top}"), 2, "--top is numbers over 0")


def test_a_conjecture_unlike_anything_in_training_is_noted(rank, server):
    server.faults.parameters["known_share_at"] = "10"

    def change(model, outputs):
        for name in outputs:
            outputs[name][:, 10] = 0.125
        return outputs

    server.faults.change_output = change
    status, _, err = rank()
    assert status == 0
    assert "saw nothing like the conjecture: it knows 12% of its symbols" in err


PROBLEM = """\
% A problem as provers read it
include('theory.ax').
fof(goal, conjecture,
    ! [A] : ( p(A, 1)
           => r(A, 1) ), inference(made, [status(thm)], [])).
cnf(useless, axiom, s(A)). /* a clause,
   its variable closed */
"""
THEORY = """\
fof(first, axiom, ! [A, B] : (p(A, B) => q(A, B)), file('book.p', first)).
fof(second, axiom, ! [A, B] : (q(A, B) => r(A, B))).
"""


def test_a_problem_brings_its_axioms(rank, files):
    (files / "whole.p").write_text(PROBLEM)
    (files / "theory.ax").write_text(THEORY)
    status, out, err = rank("--json", conjecture="whole.p", premises=None)
    assert (status, err) == (0, "")
    assert {premise["name"] for premise in json.loads(out)["premises"]} == {"first", "second", "useless"}
    (files / "theory.ax").unlink()
    status, out, err = rank(conjecture="whole.p", premises=None)
    assert (status, out) == (2, "")
    assert "whole.p, line 2" in err
    assert "theory.ax" in err
    assert len(err.splitlines()) == 1


def test_a_conjecture_alone_has_nothing_to_rank(rank):
    status, out, err = rank(premises=None)
    assert (status, out) == (2, "")
    assert "--premises" in err
