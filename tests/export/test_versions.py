"""Listing, going back, removing: no number ever stands for two contents."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from neurips16.export import publish as publish_module
from neurips16.export.command import VersionsAction, versions
from neurips16.export.errors import PublishError
from neurips16.export.parity.report import OutputReport, ParityReport
from neurips16.export.publish import publish, withdraw
from neurips16.export.spec import ModelSpec, TensorSpec, Tolerance, embed_spec
from neurips16.export.versions import describe, promote, prune, rollback_number

CLOSE = Tolerance(1e-4, 1e-5, "sums")
SPEC = ModelSpec(
    name="small",
    system="none",
    summary="",
    inputs=(TensorSpec("x", "FP32", ("N", 2), ""),),
    outputs=(TensorSpec("y", "FP32", ("N", 2), "", tolerance=CLOSE),),
    max_batch_size=4,
    paper="none",
)


@pytest.fixture
def put(tmp_path: Path):
    """Publish a model of some content."""

    def run(content: str, name: str = "small") -> Path:
        spec = dataclasses.replace(SPEC, name=name, provenance={"export": {"checkpoint_sha256": content * 8}})
        values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 2]) for n in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], content, values[:1], values[1:])
        model = helper.make_model(graph)
        embed_spec(model, spec)
        path = tmp_path / "staged.onnx"
        onnx.save(model, path)
        report = ParityReport.of(spec, path)
        report.runs["onnx"] = {"y": OutputReport(1e-4, 1e-5, "sums", compared=8)}
        report.metrics = {"onnx": {"error": {"torch": 0.1, "onnx": 0.2, "allowed_loss": 1}}}
        return publish(path, tmp_path / "models", spec, report)

    return run


def numbers(model_dir: Path) -> list[int]:
    return [version.number for version in describe(model_dir)]


def test_what_is_known_of_each_version(put, tmp_path, capsys) -> None:
    put("aaaa")
    put("bbbb")
    first, second = describe(tmp_path / "models/small")
    assert (first.number, first.newest, second.newest) == (1, False, True)
    assert first.metrics == {"error": 0.2}
    assert first.checkpoint == "aaaa" * 8
    versions(["small"], tmp_path / "models")
    said = capsys.readouterr().out
    assert "*2" in said
    assert "aaaaaaaaaaaa" in said
    assert "error 0.2" in said
    versions(["small"], tmp_path / "models", as_json=True)
    assert [v["number"] for v in json.loads(capsys.readouterr().out)["small"]] == [1, 2]


def test_going_back_publishes_the_earlier_content_under_a_new_number(put, tmp_path, capsys) -> None:
    model_dir = tmp_path / "models/small"
    for content in ("aaaa", "bbbb", "cccc"):
        put(content)
    versions(["small"], tmp_path / "models", VersionsAction.ROLLBACK)
    assert "small: version 2 is published again as 4" in capsys.readouterr().out
    assert (model_dir / "4/model.onnx").read_bytes() == (model_dir / "2/model.onnx").read_bytes()
    assert describe(model_dir)[-1].origin == 2
    assert rollback_number("small", describe(model_dir)) == 1  # and not 3, which was just left
    versions(["small"], tmp_path / "models", VersionsAction.ROLLBACK)
    assert describe(model_dir)[-1].origin == 1
    with pytest.raises(PublishError, match="small has no version before 1"):
        versions(["small"], tmp_path / "models", VersionsAction.ROLLBACK)
    assert promote(model_dir, 3).name == "6"
    with pytest.raises(PublishError, match="version 3 of small is what is served: version 6 is it"):
        promote(model_dir, 3)
    with pytest.raises(PublishError, match="has no version 9; it has 1, 2, 3, 4, 5, 6"):
        promote(model_dir, 9)


def test_a_number_is_never_given_again(put, tmp_path) -> None:
    model_dir = tmp_path / "models/small"
    for content in ("aaaa", "bbbb", "cccc"):
        put(content)
    withdraw(model_dir / "3")
    assert numbers(model_dir) == [1, 2]
    assert put("dddd").name == "4"
    assert prune(model_dir, 1) == [1, 2]
    withdraw(model_dir / "4")
    assert put("eeee").name == "5"
    assert prune(model_dir, 3) == []
    assert sorted(p.name for p in model_dir.iterdir()) == [".highest_version", "5"]
    (model_dir / ".highest_version").write_text("many")
    with pytest.raises(PublishError, match="holds no number"):
        put("ffff")


def test_a_removal_that_is_cut_off_leaves_the_version_or_nothing(put, tmp_path, monkeypatch) -> None:
    model_dir = tmp_path / "models/small"
    put("aaaa")
    put("bbbb")

    def cut(source: Path, target: Path) -> bool:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "rename", cut)
        with pytest.raises(PublishError, match="cannot take"):
            withdraw(model_dir / "1")
    assert (model_dir / "1/model.onnx").is_file()
    with pytest.raises(PublishError, match="cannot take"):
        withdraw(model_dir / "7")
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == ["models"]  # nothing is left beside it


def test_models_of_one_export_go_back_together(put, tmp_path, capsys) -> None:
    for content in ("aaaa", "bbbb"):
        put(content, "encoder")
        put(content, "ranker")
    with pytest.raises(PublishError, match="encoder version 1 and ranker version 1 were exported together"):
        versions(["encoder"], tmp_path / "models", VersionsAction.ROLLBACK)
    assert numbers(tmp_path / "models/encoder") == [1, 2]
    versions(["encoder", "ranker"], tmp_path / "models", VersionsAction.ROLLBACK)
    versions(["encoder"], tmp_path / "models", VersionsAction.PROMOTE, 2, alone=True)
    assert numbers(tmp_path / "models/encoder") == [1, 2, 3, 4]
    assert numbers(tmp_path / "models/ranker") == [1, 2, 3]


def test_options_go_with_their_action(put, tmp_path, capsys) -> None:
    put("aaaa")
    put("bbbb")
    with pytest.raises(PublishError, match="--number goes with --do promote"):
        versions(["small"], tmp_path / "models", VersionsAction.PROMOTE)
    with pytest.raises(PublishError, match="--keep goes with --do prune"):
        versions(["small"], tmp_path / "models", keep=1)
    with pytest.raises(PublishError, match="has no version with a"):
        versions(["absent"], tmp_path / "models")
    versions(["small"], tmp_path / "models", VersionsAction.PRUNE, keep=1)
    assert capsys.readouterr().out == "small: removed 1\n"
