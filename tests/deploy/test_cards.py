"""The scripts that write model cards: what they keep of a run, and that the cards that ship are what they write."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "serving/cards"
CONFIG = """
threads: 2
seed_everything: 0
model: {width: 3, weights: null}
data: {folder: /somewhere, batch_size: 4}
trainer: {max_steps: 7}
"""


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    """A script by its name; scripts import what they share from beside them."""
    sys.path.insert(0, str(ROOT / "deploy/cards"))
    loaded: list[str] = []

    def load(name: str) -> ModuleType:
        loaded.append(name)
        return importlib.import_module(name)

    yield load
    sys.path.remove(str(ROOT / "deploy/cards"))
    for name in loaded:
        sys.modules.pop(name, None)


def read(card: str, name: str) -> Any:
    return json.loads((CARDS / card / f"{name}.json").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was continued once; its second part did step 3 again."""
    for part, rows in ((0, ["0,1,,2.5", "0,3,,2.0", "0,3,0.5,"]), (10, ["0,3,,1.5", "1,5,,1.0"])):
        folder = tmp_path / f"metrics/version_{part}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("\n".join(["epoch,step,val_error,train_loss", *rows]) + "\n")
        (folder / "config.yaml").write_text(CONFIG)
    for epoch in (0, 1):
        (tmp_path / f"epoch{epoch:03d}.ckpt").touch()
    return tmp_path


def test_a_run_with_its_continuation(script, run, tmp_path) -> None:
    recording = script("recording")
    found = recording.read_run(run)
    assert [(row["step"], row["train_loss"], row["val_error"]) for row in found.rows] == [
        ("1", "2.5", ""),
        ("3", "1.5", ""),
        ("3", "", "0.5"),
        ("5", "1.0", ""),
    ]
    assert found.checkpoint.name == "epoch001.ckpt"
    assert found.settings(steps=7) == {
        "model": {"width": 3},
        "data": {"batch_size": 4},
        "seed": 0,
        "threads": 2,
        "continuations": 1,
        "steps": 7,
    }
    assert recording.points(found.rows, "train_loss", mean_over=2, shift=10) == ([11, 13, 15], [2.5, 2.0, 1.25])
    recording.write_rows(tmp_path / "kept.csv", ["step", "train_loss"], found.rows[:1])
    assert (tmp_path / "kept.csv").read_text() == "step,train_loss\n1,2.5\n"


def test_what_is_measured_is_not_measured_again(script, tmp_path) -> None:
    recording = script("recording")
    recording.write_json(tmp_path / "model.json", {"metrics": {"map_50": 0.5}})
    assert recording.measure(tmp_path / "model.json", "rfcn", ["--model", "none"], tmp_path)["metrics"] == {
        "map_50": 0.5
    }


def test_the_card_of_deepmath(script, tmp_path, monkeypatch) -> None:
    deepmath = script("deepmath")
    measured = [name for name in deepmath.TARGETS if (CARDS / f"deepmath/{name}.json").is_file()]
    assert "network" in measured
    results = {name: read("deepmath", name) for name in measured}
    seeds = deepmath.read_seeds()
    assert len(seeds) >= 3
    logs = {name: log for name, (log, _, _) in deepmath.PROVERS.items()}
    proofs = {name: deepmath.read_proofs(CARDS / f"deepmath/{log}.jsonl") for name, log in logs.items()}
    picture = (CARDS / "deepmath/proved.png").read_bytes()
    monkeypatch.setattr(deepmath, "CARD", tmp_path)  # the picture goes there
    (tmp_path / "notes.md").write_text((CARDS / "deepmath/notes.md").read_text())
    written = deepmath.card(results, seeds, proofs, read("deepmath", "run"))
    assert written == (CARDS / "deepmath/README.md").read_text()
    assert (tmp_path / "proved.png").read_bytes()[:8] == picture[:8]


def test_the_card_of_the_sound_classifier(script) -> None:
    sounds = script("sound_classifier")
    baselines = {name: read("sound_classifier", name) for name in sounds.TITLES}
    result, run = read("sound_classifier", "cross_validation"), read("sound_classifier", "run")
    assert sounds.card(result, baselines, run) == (CARDS / "sound_classifier/README.md").read_text()


@pytest.mark.parametrize("name", ["rfcn", "generators"])
def test_the_other_scripts_load(script, name) -> None:
    assert script(name).main
