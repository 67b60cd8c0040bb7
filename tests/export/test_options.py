from __future__ import annotations

import pytest

from neurips16.export.errors import EvaluationError
from neurips16.export.options import parse_options, positive_integer, spread
from neurips16.export.registry import SystemExport

SYSTEM = SystemExport("one", lambda target, data, split, options: {}, options={"seeds": "how many"})


@pytest.mark.parametrize("words", [["--seeds", "3"], ["--seeds=3"]])
def test_words_become_options(words) -> None:
    assert parse_options(words, SYSTEM) == {"seeds": "3"}


@pytest.mark.parametrize(
    ("words", "says"), [(["--many", "3"], r"it has: --seeds \(how many\)"), (["--seeds"], "value")]
)
def test_words_that_are_none(words, says) -> None:
    with pytest.raises(EvaluationError, match=says):
        parse_options(words, SYSTEM)


def test_numbers() -> None:
    assert positive_integer({}, "seeds", 4) == 4
    for text in ("many", "0", "-1"):
        with pytest.raises(EvaluationError, match=f"--seeds: expected a number over 0, got '{text}'"):
            positive_integer({"seeds": text}, "seeds", 4)
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 10).tolist() == [0, 1, 2]
