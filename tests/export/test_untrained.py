"""Systems without training: exported without a checkpoint, and only those."""

from __future__ import annotations

import json

import pytest

from neurips16.export.errors import EvaluationError, ExportError
from neurips16.export.registry import Target, find_export
from neurips16.export.run_export import evaluate_target, run_export
from neurips16.export.spec import read_spec


def test_a_method_has_no_checkpoint_and_a_network_needs_one(tmp_path):
    with pytest.raises(ExportError, match="gibbs has no training: leave it out"):
        run_export("gibbs", tmp_path / "last.ckpt", tmp_path)
    with pytest.raises(ExportError, match="infogan comes from a checkpoint: give --checkpoint"):
        run_export("infogan", None, tmp_path)


def test_a_method_is_published_again_since_nothing_of_it_could_get_worse(tmp_path):
    for number in ("1", "2"):
        (folder,) = run_export("linear_landscape", None, tmp_path / "models")
        assert folder.name == number
    incumbent = json.loads((folder / "parity.json").read_text())["incumbent"]
    assert incumbent == {"version": 1, "compared": False, "why": "nothing of it is trained"}
    facts = read_spec(folder / "model.onnx").provenance["export"]
    assert facts["checkpoint"] is None
    assert facts["checkpoint_sha256"] is None


def test_what_has_no_metrics_is_not_evaluated():
    with pytest.raises(EvaluationError, match="no metric of its own"):
        evaluate_target(find_export("gibbs"), Target(baseline="library"), None, "test", {})
