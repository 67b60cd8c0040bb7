"""Our declarations of Triton's C interface, held against the libraries themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from neurips16.serving.errors import ServingError
from neurips16.serving.triton.installation import find_backend, find_triton

HEADER = Path(__file__).parents[2] / "serving/backends/onnxruntime/triton_api.h"
ENTRIES = {
    "TRITONBACKEND_Initialize",
    "TRITONBACKEND_Finalize",
    "TRITONBACKEND_GetBackendAttribute",
    "TRITONBACKEND_ModelInitialize",
    "TRITONBACKEND_ModelFinalize",
    "TRITONBACKEND_ModelInstanceInitialize",
    "TRITONBACKEND_ModelInstanceFinalize",
    "TRITONBACKEND_ModelInstanceExecute",
}


def symbols(library: Path, which: str) -> set[str]:
    """Triton's functions among a library's dynamic symbols, ``which`` is ``defined`` or ``undefined``."""
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed: apt install binutils")
    listed = subprocess.run(["nm", "-D", f"--{which}-only", str(library)], capture_output=True, text=True, check=True)
    return set(re.findall(r"\b(TRITON(?:SERVER|BACKEND)_\w+)", listed.stdout))


@pytest.fixture(scope="module")
def backend() -> Path:
    try:
        return find_backend()
    except ServingError as error:
        pytest.skip(str(error))


def declared() -> set[str]:
    return set(re.findall(r"^[\w ]+[*]? *\b(TRITON(?:SERVER|BACKEND)_\w+)\(", HEADER.read_text(), re.MULTILINE))


def test_the_server_from_pip_has_all_that_is_declared(needs_triton):
    (library,) = find_triton().libraries.glob("libtritonserver*.so*")
    assert len(declared()) > 40
    assert declared() <= symbols(library, "defined")


def test_what_is_declared_is_what_the_backend_needs(backend):
    assert symbols(backend, "undefined") == declared()


def test_the_backend_shows_its_entries_and_nothing_else(backend):
    assert symbols(backend, "defined") == ENTRIES
    shown = subprocess.run(["nm", "-D", "--defined-only", str(backend)], capture_output=True, text=True, check=True)
    assert len(shown.stdout.splitlines()) == len(ENTRIES)


def test_the_backend_is_linked_to_neither_triton_nor_onnxruntime(backend):
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed: apt install binutils")
    listed = subprocess.run(["readelf", "-d", str(backend)], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"NEEDED.*\[(.*)\]", listed)
    assert needed
    assert not [name for name in needed if "triton" in name or "onnx" in name]
