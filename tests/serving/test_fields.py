"""The table of configuration fields: every field that Triton knows is in it, and what it says is true."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc.model_config_pb2 import ModelConfig

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "serving/backends/onnxruntime/fields.def"
ROWS = re.findall(r'^FIELD\("([^"]+)", (\w+), (\w+), "([^"]*)"\)$', TABLE.read_text(), re.MULTILINE)
PATHS = [row[0] for row in ROWS]


def leaves(message, path: str = "", depth: int = 0) -> set[str]:
    """The paths of all fields of a protobuf message."""
    found = set()
    for field in message.fields:
        here = f"{path}.{field.name}" if path else field.name
        inner = field.message_type
        if field.type == FieldDescriptor.TYPE_MESSAGE and not inner.GetOptions().map_entry and depth < 8:
            found |= leaves(inner, here, depth + 1) or {here}
        else:
            found.add(here)
    return found


def covered(path: str) -> bool:
    return any(path == row or (row.endswith(".*") and f"{path}.".startswith(row[:-1])) for row in PATHS)


def test_each_row_is_read_and_none_is_there_twice():
    assert len(ROWS) == TABLE.read_text().count("\nFIELD(")
    assert len(set(PATHS)) == len(PATHS)
    assert {word for row in ROWS for word in row[1:3]} <= {"Core", "Backend", "Named", "Silent", "Refused"}


def test_every_field_of_tritons_configuration_is_in_the_table():
    known = leaves(ModelConfig.DESCRIPTOR)
    assert len(known) > 80
    assert {path for path in known if not covered(path)} == set()


def test_the_page_has_every_row():
    pytest.importorskip("mkdocs", reason="needs the docs extra")
    sys.path.insert(0, str(ROOT / "deploy/docs"))
    import reference

    sys.path.remove(str(ROOT / "deploy/docs"))
    page = reference.fields()
    assert all(f"| `{path}` |" in page for path in PATHS)
    assert "| `model_transaction_policy.decoupled` | refused | refused |" in page
