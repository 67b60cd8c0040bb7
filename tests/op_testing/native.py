"""Builds a library of native kernels from sources, as CMakeLists.txt does, in a test's own folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OPS = Path(__file__).parents[2] / "export/ops"
HEADER = "onnxruntime_cxx_api.h"
# Edges of bins must come out alike everywhere: see CMakeLists.txt.
FLAGS = ["-std=c++20", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-ffp-contract=off"]


def headers_or_skip() -> Path:
    """The folder of ONNX Runtime's headers."""
    places = [
        os.environ.get("ONNXRUNTIME_INCLUDE_DIR", ""),
        f"{sys.prefix}/include/onnxruntime",
        "/usr/include/onnxruntime",
    ]
    found = next((Path(place) for place in places if place and (Path(place) / HEADER).is_file()), None)
    if found is None:
        pytest.skip("no ONNX Runtime headers (deploy/onnxruntime_headers.sh fetches them)")
    return found


def build(folder: Path, *sources: Path) -> Path:
    """A library of the kernels in ``sources``; CUDA's run in it under the emulation of cuda_launch.h."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    library = folder / "libkernels.so"
    command = ["g++", "-x", "c++", *FLAGS, "-isystem", str(headers_or_skip()), f"-I{OPS}"]
    run = subprocess.run(
        [*command, *map(str, sources), str(OPS / "library.cc"), "-o", str(library)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return library
