"""Everything in deploy/ names one release of Triton by its digest, which loads every model that ships."""

from __future__ import annotations

import re

import pytest
from deploy_tools import CHART, COMPOSE, DEPLOY, ROOT, load, load_module

from neurips16.serving.release import DEPLOYED, OP_LIBRARY_API, get_release, preflight

PINNED = load_module(DEPLOY / "image_digests.py").PINNED
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


def test_images_of_others_are_named_by_digest():
    """Only what a file builds itself goes by a tag, and is never pulled."""
    base = dict(re.findall(r"^ARG (\w+)=(\S+)", TEXTS["docker/Dockerfile"], re.M))["TRITON"]
    assert PINNED.fullmatch(base)
    stages = re.findall(r"^FROM (\S+)", TEXTS["docker/Dockerfile"], re.M)
    assert stages == ["${TRITON}", "${TRITON}", "server-mounted", "server-${MODELS}"]
    for name, service in load(COMPOSE)["services"].items():
        if "build" in service:
            assert service["pull_policy"] == "build", name
        else:
            assert PINNED.fullmatch(service["image"]), name


def test_no_node_takes_the_runtime_before_it_names_an_image_of_yours():
    (container,) = load(DEPLOY / "kserve/runtime.yaml")["spec"]["containers"]
    assert container["image"] == "neurips16-triton@sha256:DIGEST"  # which is no name of an image
    command = re.search(r"sed '?\"?s\|([^|]+)\|([^|]+)\|", TEXTS["README.md"])
    assert command[1] == container["image"]
    assert command[2].endswith("/neurips16-triton@sha256:...")


def test_the_places_that_name_it_are_seen():
    assert TAG in TEXTS["docker/Dockerfile"]
    assert load(CHART / "Chart.yaml")["appVersion"] == TAG
    assert load(COMPOSE)["services"]["triton"]["image"] == f"neurips16-triton:{TAG}"
    assert TAG in TEXTS["README.md"]


def test_the_image_is_built_against_the_releases_onnxruntime():
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)", TEXTS["docker/Dockerfile"], re.M))
    release = get_release(DEPLOYED)
    assert f"tritonserver:{DEPLOYED}-py3@" in arguments["TRITON"]
    assert arguments["ONNXRUNTIME_VERSION"] == release.onnxruntime
    assert release.custom_op_api >= OP_LIBRARY_API


def test_its_known_holes_are_closed():
    """The bulletins that were read are rows of a table in THREATS.md, and each says which release closed it."""
    bulletins = re.findall(r"^\| (\d{4}) \| [^|]+ \| (\d\d\.\d\d) \|", (DEPLOY / "THREATS.md").read_text(), re.M)
    assert len(bulletins) >= 8
    assert max(release for _, release in bulletins) <= DEPLOYED


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.parts[-3])
def test_every_shipped_model_is_loaded_by_it(model):
    preflight(model, DEPLOYED)


def test_there_are_shipped_models():
    assert MODELS
