"""The digests are the registry's own, and written into all files or into none; a Docker of the test stands for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deploy_tools import DEPLOY, load_module

image_digests = load_module(DEPLOY / "image_digests.py")
OLD, NEW = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Makes a `docker` that answers so."""

    def answer(script: str) -> None:
        program = tmp_path / "bin/docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return answer


@pytest.fixture
def files(tmp_path) -> list[Path]:
    made = [tmp_path / "Dockerfile", tmp_path / "compose.yaml"]
    made[0].write_text(f"ARG TRITON=nvcr.io/a/b:26.08-py3@{OLD}\nFROM ${{TRITON}}\n")
    made[1].write_text(f"image: c/d:v1@{OLD}\nimage: mine:1\n")
    return made


def test_every_image_is_asked_for_and_written(registry, files):
    registry(f"[ \"$1 $2 $3\" = 'buildx imagetools inspect' ] && case $4 in *v1) echo {NEW};; *) echo {OLD};; esac")
    assert image_digests.renew(files) == [f"c/d:v1: {OLD} -> {NEW}"]
    assert files[0].read_text() == f"ARG TRITON=nvcr.io/a/b:26.08-py3@{OLD}\nFROM ${{TRITON}}\n"
    assert files[1].read_text() == f"image: c/d:v1@{NEW}\nimage: mine:1\n"


@pytest.mark.parametrize(
    "script", [f"case $4 in *v1) echo no such host >&2; exit 1;; *) echo {NEW};; esac", "echo latest", "exit 0"]
)
def test_without_an_answer_for_each_nothing_is_written(registry, files, script):
    before = [path.read_text() for path in files]
    registry(script)
    with pytest.raises(image_digests.RegistryError, match="its registry gives no digest"):
        image_digests.renew(files)
    assert [path.read_text() for path in files] == before


def test_a_missing_docker_is_said(files, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(image_digests.RegistryError, match="docker is not here"):
        image_digests.renew(files)


def test_the_images_of_deploy_are_seen():
    texts = [path.read_text() for path in image_digests.FILES]
    names = {match["tagged"] for text in texts for match in image_digests.PINNED.finditer(text)}
    assert {name.rpartition(":")[0] for name in names} == {
        "nvcr.io/nvidia/tritonserver",
        "prom/prometheus",
        "grafana/grafana",
    }
