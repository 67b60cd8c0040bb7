"""The specification that a model file carries, as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from fuzz.harness import Harness

from neurips16.export.spec import ModelSpec, SpecError, StateSpec, TensorSpec, Tolerance


def small_spec() -> ModelSpec:
    """A specification in which every field is used."""
    exact = Tolerance(0, 0, "exact")
    return ModelSpec(
        name="small",
        system="none",
        summary="a model",
        inputs=(TensorSpec("x", "FP32", ("N", 2), "", range=(0.0, 1.0)),),
        outputs=(TensorSpec("y", "FP32", ("N", 2), "", tolerance=exact),),
        max_batch_size=4,
        paper="none",
        states=(StateSpec("s_in", "s_out", "FP32", (2,), exact),),
        labels={"y": ("a", "b")},
        parameters={"rate": "22050"},
        provenance={"run": 1},
    )


def read(data: bytes, folder: Path) -> object:
    """As the reader of a model's metadata does."""
    return ModelSpec.from_json(data.decode("utf-8", errors="surrogateescape"))


def seeds() -> list[bytes]:
    """A good one, one without fields, and JSON that has broken parsers before."""
    good = small_spec().to_json()
    bare = {key: None for key in json.loads(good)}
    nested = "[" * 20_000 + "]" * 20_000
    texts = [good, json.dumps(bare), "{}", "[]", "null", "NaN", "1e999", "9" * 5000, nested, good.replace("4", "-1")]
    return [text.encode() for text in texts]


HARNESS = Harness(read, (SpecError,), seeds)
