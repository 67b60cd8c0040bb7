"""Everything in deploy/ names one release of Triton, which loads every model that ships."""

from __future__ import annotations

import re

import pytest
from deploy_tools import CHART, COMPOSE, DEPLOY, ROOT, load

from neurips16.serving.release import DEPLOYED, OP_LIBRARY_API, get_release, preflight

VERSION = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
TAG = f"{VERSION}-{DEPLOYED}"
FOLDERS = ("docker", "compose", "helm", "kserve")
TEXTS = {
    str(path.relative_to(DEPLOY)): path.read_text()
    for path in (*(p for folder in FOLDERS for p in (DEPLOY / folder).rglob("*")), DEPLOY / "README.md")
    if path.is_file()
}
MODELS = sorted((ROOT / "serving/models").glob("*/*/model.onnx"))


@pytest.mark.parametrize("name", TEXTS)
def test_an_image_has_the_one_tag(name):
    tags = re.findall(r"neurips16-triton:([\w.-]+)", TEXTS[name])
    assert {tag.removesuffix("-models") for tag in tags} <= {TAG}
    assert set(re.findall(r"tritonserver:(\d\d\.\d\d)", TEXTS[name])) <= {DEPLOYED}
    assert not re.search(r":latest\b", TEXTS[name])


def test_the_places_that_name_it_are_seen():
    assert TAG in TEXTS["docker/Dockerfile"]
    assert load(CHART / "Chart.yaml")["appVersion"] == TAG
    assert load(COMPOSE)["services"]["triton"]["image"] == f"neurips16-triton:{TAG}"
    assert TAG in TEXTS["kserve/runtime.yaml"]
    assert TAG in TEXTS["README.md"]


def test_the_image_is_built_against_the_releases_onnxruntime():
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)", TEXTS["docker/Dockerfile"], re.M))
    release = get_release(DEPLOYED)
    assert arguments["TRITON_RELEASE"] == DEPLOYED
    assert arguments["ONNXRUNTIME_VERSION"] == release.onnxruntime
    assert release.custom_op_api >= OP_LIBRARY_API


def test_its_known_holes_are_closed():
    """CVE-2025-23310 and others like it, which 25.07 closed: the HTTP of the health probes is open to the node."""
    assert DEPLOYED >= "25.07"


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.parts[-3])
def test_every_shipped_model_is_loaded_by_it(model):
    preflight(model, DEPLOYED)


def test_there_are_shipped_models():
    assert MODELS
