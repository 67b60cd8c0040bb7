"""What is measured: one target, and of files the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurips16.export.errors import EvaluationError
from neurips16.export.registry import Target
from neurips16.export.station import model_file, open_station

MODELS = Path(__file__).parents[2] / "serving/models"


@pytest.mark.parametrize("given", [{}, {"url": "a:1", "model": Path("m")}])
def test_a_target_is_one_thing(given) -> None:
    with pytest.raises(EvaluationError, match="name one of"):
        Target(**given)
    assert Target(url="a:1").checkpoint is None


def test_a_baseline_is_no_model() -> None:
    with pytest.raises(EvaluationError, match="infogan has no baseline 'knn'"):
        open_station(Target(baseline="knn"), "infogan", "infogan_encoder", lambda checkpoint, data: [])


def test_any_model_of_a_system_leads_to_the_others() -> None:
    given = MODELS / "infogan/1/model.onnx"
    path, spec = model_file(given, "infogan", "infogan_encoder")
    assert path == (MODELS / "infogan_encoder/1/model.onnx").absolute()
    assert spec.name == "infogan_encoder"


def test_a_model_whose_sibling_is_not_there(tmp_path) -> None:
    lonely = tmp_path / "infogan/1/model.onnx"
    lonely.parent.mkdir(parents=True)
    lonely.write_bytes((MODELS / "infogan/1/model.onnx").read_bytes())
    with pytest.raises(EvaluationError, match="is not there, and infogan needs it"):
        model_file(lonely, "infogan", "infogan_encoder")


@pytest.mark.parametrize(
    ("system", "file", "says"),
    [
        ("infogan", MODELS / "rfcn/1/model.onnx", "is 'rfcn', of the system 'rfcn'; expected a model of 'infogan'"),
        ("rfcn", MODELS / "infogan/1/model.onnx", "is 'infogan', of the system 'infogan'; expected a model of 'rfcn'"),
        ("deepmath", "notes.txt", "no model that can be measured"),
        ("rfcn", "notes.json", "no model that can be measured"),
        ("soundnet", "gone.onnx", "gone.onnx cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_model_of_the_system_is_refused_in_one_line(
    system, file, says, tmp_path, monkeypatch, capsys, deepmath_folder, mnist_folder, detection_folder, sound_pairs
) -> None:
    from neurips16.clients.command import main

    data = {"infogan": mnist_folder, "rfcn": detection_folder, "deepmath": deepmath_folder, "soundnet": sound_pairs}
    (tmp_path / "notes.txt").write_text("hello\n")
    (tmp_path / "notes.json").write_text("{}\n")
    words = ["evaluate", system, "--model", tmp_path / file, "--data", data[system]]
    monkeypatch.setattr("sys.argv", ["neurips16", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    text = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in text
    assert text.startswith("error: ")
    assert text.count("\n") == 1
