"""`make fuzz`, short: every reader takes its seeds, and a reader that fails is seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from deploy_tools import DEPLOY

sys.path.insert(0, str(DEPLOY))  # for the package fuzz

pytest.importorskip("torch", reason="checkpoints are read with the training extra")

from fuzz import __main__ as command
from fuzz.harness import Harness, fault, load, names


@pytest.mark.filterwarnings("ignore")  # what is foreign may make a library warn
@pytest.mark.parametrize("name", names())
def test_a_reader_raises_its_rooms_own_error_or_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    harness = load(name)
    seeds = harness.seeds()
    assert len(seeds) >= 5
    faults = {number: fault(harness, seed, tmp_path) for number, seed in enumerate(seeds)}
    assert {number: error for number, error in faults.items() if error is not None} == {}


@pytest.mark.parametrize("name", names())
def test_its_first_seed_is_read_to_the_end(name, tmp_path):
    """Else a fuzzer would never get past the first check."""
    harness = load(name)
    if name == "checkpoint":  # a whole one is large: the head is good, and its weights do not fit
        with pytest.raises(harness.errors, match="does not fit this version of 'infogan'"):
            harness.read(harness.seeds()[0], tmp_path)
    elif name in ("sound", "tptp", "image"):  # two readers, of which the second may refuse what the first takes
        assert fault(harness, harness.seeds()[0], tmp_path) is None
    else:
        harness.read(harness.seeds()[0], tmp_path)


def test_what_a_reader_must_not_raise_is_told(tmp_path):
    def read(data: bytes, folder: Path) -> object:
        raise KeyError if data else ValueError

    harness = Harness(read, (ValueError,), lambda: [b""])
    assert fault(harness, b"", tmp_path) is None
    assert isinstance(fault(harness, b"a", tmp_path), KeyError)


@pytest.fixture
def broken_reader(tmp_path, monkeypatch) -> str:
    """A reader that fails on what a fuzzer soon finds."""
    path = tmp_path / "elsewhere/fuzz/readers/broken.py"  # the package is found on all of the path
    path.parent.mkdir(parents=True)
    path.write_text(
        "from fuzz.harness import Harness\n\n\ndef read(data, folder):\n"
        '    if data[:1] == b"a":\n        raise KeyError("found")\n    raise ValueError\n\n\n'
        'HARNESS = Harness(read, (ValueError,), lambda: [b"b", b"a"])\n'
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    return path.stem


@pytest.mark.slow
class TestFuzzer:
    @pytest.fixture(autouse=True)
    def atheris(self):
        pytest.importorskip("atheris", reason="comes with pip: neurips16[fuzz]")

    def test_a_reader_that_holds_is_given_many_inputs(self, tmp_path):
        for seconds in (3, 60):  # a busy machine may need three for the seeds alone
            outcome = command.run("tptp", seconds, tmp_path)
            assert outcome.failure == ""
            if outcome.runs > len(load("tptp").seeds()):
                break
        assert outcome.runs > len(load("tptp").seeds())

    def test_a_fault_is_found_and_its_input_kept(self, tmp_path, broken_reader):
        outcome = command.run(broken_reader, 3, tmp_path)
        assert outcome.failure.startswith("KeyError: 'found'; ")
        kept = Path(outcome.failure.split("; ")[1])
        assert kept.parent == tmp_path / broken_reader
        assert kept.read_bytes()[:1] == b"a"

    def test_a_reader_that_cannot_be_started_fails(self, tmp_path):
        assert command.run("nowhere", 3, tmp_path).failure
