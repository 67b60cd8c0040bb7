"""Training and clients each have the word rule in code of their own: the same cases hold both."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from neurips16.clients.tasks.rank_premises import words as clients
from neurips16.training.data.deepmath import words as training
from neurips16.training.data.deepmath.reader import normalise, read_library

CASES = json.loads((Path(__file__).parent / "word_cases.json").read_text())


@pytest.mark.parametrize("package", [training, clients], ids=["training", "clients"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["formula"])
def test_words_and_their_hashes(package, case):
    assert package.words(case["formula"]) == case["words"]
    hashes = package.word_hashes(case["formula"])
    assert hashes.dtype == "int64"
    assert [str(value) for value in hashes] == case["hashes"]


def test_white_space_between_words_does_not_count():
    spaced = "! [A]:(  v1_even ( A )\n=>\t~ v1_odd( A ) )"
    assert clients.word_hashes(spaced).tolist() == clients.word_hashes("".join(spaced.split())).tolist()


def test_the_lower_half_is_the_published_hash():
    """Of the reference test vectors of FNV-1a, 32 bits."""
    assert training.fnv1a(b"") == 0x811C9DC5
    assert training.fnv1a(b"a") == 0xE40C292C
    assert training.fnv1a(b"foobar") == 0xBF9CF968


@pytest.mark.data
def test_real_statements_are_read_alike_in_both_rooms(real_deepmath):
    for line in read_library(real_deepmath).statements[::200]:
        text = normalise(line)
        assert training.word_hashes(text).tolist() == clients.word_hashes(text).tolist()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_documented_program_follows_the_rule(tmp_path):
    page = (Path(__file__).parents[1] / "docs/words.md").read_text()
    program = page.split("```ts")[1].split("```")[0]
    for annotation in (": string", ": bigint[]", ": bigint"):
        program = program.replace(annotation, "")
    formulas = json.dumps([case["formula"] for case in CASES])
    script = tmp_path / "words.js"
    script.write_text(f"{program}\nconsole.log(JSON.stringify({formulas}.map(f => wordHashes(f).map(String))))")
    done = subprocess.run(["node", script], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [case["hashes"] for case in CASES]
