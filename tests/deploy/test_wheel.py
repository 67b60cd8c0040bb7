"""The wheel of `make wheel`, installed where there is no compiler and no checkout."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from deploy_tools import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.triton]

LIBRARIES = (
    "export/ops/libneurips16_ops.so",
    "serving/backends/onnxruntime/libtriton_onnxruntime.so",
    "serving/triton/libneurips16_preload.so",
)


@pytest.fixture(scope="module")
def wheel() -> Path:
    for package, extra in ("auditwheel", "dev"), ("pytriton", "serving"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} comes with pip: neurips16[{extra}]")
    if shutil.which("make") is None or shutil.which("c++") is None:
        pytest.skip("a wheel is built with make and a C++ compiler")
    if not (ROOT / ".venv/.dev").exists() or Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("`make wheel` works in the checkout's .venv, and these tests run in another environment")
    made = subprocess.run(["make", "wheel"], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    (path,) = (ROOT / "build/dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel; what it depends on is that of the environment which runs the tests."""
    folder = tmp_path_factory.mktemp("new")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, wheel], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def test_it_says_which_systems_it_is_for(wheel):
    assert re.fullmatch(r"neurips16-[\d.]+-py3-none-manylinux_2_(\d+)_x86_64\.whl", wheel.name)


def test_it_serves_a_model_by_what_is_inside(environment, tmp_path):
    (site,) = environment.glob("lib/python*/site-packages")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NEURIPS16_")}
    said = subprocess.run(
        [environment / "bin/neurips16", "doctor"], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=240
    )
    assert said.returncode == 0, said.stdout + said.stderr
    for library in LIBRARIES[:2]:
        assert str(site / "neurips16" / library) in said.stdout
    assert (site / "neurips16" / LIBRARIES[2]).is_file()
    assert "answered rightly" in said.stdout
