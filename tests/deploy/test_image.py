"""The Dockerfile: linted, and what it copies is there."""

from __future__ import annotations

import fnmatch
import re
import subprocess

from deploy_tools import DEPLOY, ROOT, find_program

DOCKERFILE = DEPLOY / "docker/Dockerfile"
LINES = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
INSTRUCTIONS = [line.split(None, 1) for line in LINES if line and not line.startswith("#")]


def test_hadolint_has_nothing_to_say():
    linter = find_program("hadolint", "pip install 'neurips16[deploy]'")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_is_copied_from_here_is_here_and_sent_to_the_build():
    allowed = [
        line.removeprefix("!") for line in (DEPLOY / "docker/Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]  # fmt: skip
    sources = [text.split()[0] for name, text in INSTRUCTIONS if name == "COPY" and not text.startswith("--from")]
    assert sorted(sources) == ["CMakeLists.txt", "export/ops", "serving/models"]
    assert sorted(allowed) == sorted(sources)
    for source in sources:
        assert (ROOT / source).exists()


def test_the_options_of_the_build_are_those_of_cmake():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    (build,) = [text for name, text in INSTRUCTIONS if name == "RUN" and "cmake -S" in text]
    given = dict(re.findall(r"-D(NEURIPS16_\w+|ONNXRUNTIME_\w+)=(\S+)", build))
    assert given["NEURIPS16_NATIVE"] == given["NEURIPS16_CUDA"] == "ON"  # what is missing is an error
    for option in given:
        assert re.search(rf"\b{option}\b", cmake)
    folder = re.search(r"set\(INSTALL_FOLDER (\S+)\)", cmake)[1]
    copies = [text for name, text in INSTRUCTIONS if name == "COPY" and text.startswith("--from")]
    assert copies == [f"--from=build /installed/{folder}/ /opt/neurips16/lib/"]
    path = next(text for name, text in INSTRUCTIONS if name == "ENV" and text.startswith("LD_LIBRARY_PATH"))
    assert path.startswith("LD_LIBRARY_PATH=/opt/neurips16/lib:")


def test_it_is_not_root_and_serves_nobody_outside_by_itself():
    assert ["USER", "1000:1000"] in INSTRUCTIONS
    assert ["ENTRYPOINT", '["tritonserver"]'] in INSTRUCTIONS
    (command,) = [text for name, text in INSTRUCTIONS if name == "CMD"]
    for service in ("grpc", "http", "metrics"):
        assert f"--{service}-address=127.0.0.1" in command
    last = [text for name, text in INSTRUCTIONS if name == "FROM"][-1]
    stages = [text.split(" AS ")[1] for name, text in INSTRUCTIONS if name == "FROM" and " AS " in text]
    assert len(fnmatch.filter(stages, last.replace("${MODELS}", "*"))) == 2  # mounted, baked
