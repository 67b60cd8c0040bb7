"""The command: exact times, a recommendation, a picture, and large models by autocorrelation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from neurips16.export.analysis.mixing_time import mixing_time
from neurips16.training.errors import InvalidModelError


@pytest.fixture
def ask():
    app = typer.Typer()
    app.command()(mixing_time)

    def run(*words):
        result = CliRunner().invoke(app, [*map(str, words)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.output) if "--json" in words else result.output

    return run


def test_the_pyramid_is_exact_and_random_scan_recommended(ask):
    found = ask("example:pyramid:8", "--lazy", "--json")
    assert (found["random"], found["systematic"], found["lazy"]) == (20, 28, 57)
    assert found["recommended"] == {"scan": "random", "updates": 20, "order": None}
    assert [bound["holds"] for bound in found["bounds"]] == [True, True]
    text = ask("example:pyramid:8")
    assert "recommended: random scan: 20 updates" in text


def test_all_orders_of_the_sequence(ask):
    found = ask("example:sequence:4", "--orders", "all", "--json")
    assert found["best"] == {"updates": 4, "order": [0, 1, 2, 3]}
    assert found["worst"] == {"updates": 13, "order": [3, 2, 1, 0]}
    assert found["recommended"]["updates"] == 4
    assert "worst of 24 orders" in ask("example:sequence:4", "--orders", "all")


def test_a_picture_is_drawn(ask, tmp_path):
    path = tmp_path / "curves.png"
    ask("example:islands:3", "--picture", path)
    assert np.asarray(Image.open(path)).std() > 10
    with pytest.raises(InvalidModelError, match=r"name a \.png"):
        ask("example:islands:3", "--picture", tmp_path / "curves.what")


@pytest.mark.slow
def test_a_large_chain_of_variables_is_judged_by_its_draws(ask, tmp_path):
    pytest.importorskip("arviz", reason="arviz is not installed")
    size = 14
    couplings = 1.2 * (np.eye(size, k=1) + np.eye(size, k=-1))
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"couplings": couplings.tolist(), "biases": [[0, 0, 0]] * size}))
    found = ask(path, "--json")
    assert found["kind"] == "sampled"
    assert found["updates"]["random"] > found["updates"]["forward"] > size  # a sweep misses no variable
    assert found["recommended"]["updates"] == min(found["updates"].values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["example:cube:3"], "there is no example 'cube'"),
        (["example:pyramid:x"], "has a size from 2"),
        (["example:pyramid:8", "--orders", "some"], "--orders is a number, or all"),
        (["example:pyramid:8", "--orders", "all"], "40320 orders"),
        (["nothing.json"], "cannot be read"),
        (["example:pyramid:8", "--epsilon", "2"], "between 0 and 1"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(ask, words, message):
    with pytest.raises(InvalidModelError, match=message) as refused:
        ask(*words)
    assert "\n" not in str(refused.value)
