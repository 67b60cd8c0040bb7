"""The examples of the documentation in other languages: run as they are printed, against a real Triton."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
PICTURE = 28 * 28
GO_PACKAGES = Path("/usr/share/gocode")  # where Debian's Go packages are


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("pytriton", reason="the Triton binary is in the serving extra")
    from neurips16.serving import TritonServer

    with TritonServer(
        ROOT / "serving/models", models=["infogan"], grpc_port=0, http_port=0, metrics_port=None
    ) as running:
        yield running


@pytest.fixture(scope="module")
def picture(server) -> list[int]:
    """What our own client gets."""
    from neurips16.clients import Client

    inputs = {"category": np.array([[7]]), "continuous": np.zeros((1, 2), np.float32), "seed": np.array([[0]])}
    with Client(server.url) as client:
        return client.infer("infogan", inputs)["image"].ravel().tolist()


def run(command: list[str], server, **environment: str) -> str:
    variables = {**os.environ, "NEURIPS16_URL": server.url, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.triton
def test_curl(server, picture) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    script = (EXAMPLES / "curl.sh").read_text("utf-8").replace("localhost:8000", server.http_url)
    reply = json.loads(run(["sh", "-c", script], server, NEURIPS16_ADMIN_TOKEN=server.admin_token))
    assert reply["outputs"][0]["data"] == picture


@pytest.mark.triton
def test_node(server, picture, node_modules, tmp_path) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    script = shutil.copy(EXAMPLES / "node.mjs", tmp_path)
    reply = json.loads(run(["node", str(script), str(EXAMPLES / "kserve_v2.proto")], server))
    assert reply == {"shape": [1, 28, 28, 1], "data": picture}


@pytest.mark.triton
@pytest.mark.slow
def test_go(server, picture, tmp_path) -> None:
    missing = [tool for tool in ("go", "protoc", "protoc-gen-go") if shutil.which(tool) is None]
    if missing or not (GO_PACKAGES / "src/google.golang.org/grpc").is_dir():
        pytest.skip(f"needs {', '.join(missing) or 'golang-google-grpc-dev'}: Debian's Go and its gRPC")
    folder = tmp_path / "src/ask"
    folder.mkdir(parents=True)
    for name in ("ask.go", "kserve_v2.proto"):
        shutil.copy(EXAMPLES / name, folder)
    page = (ROOT / "docs/other-languages.md").read_text("utf-8")
    (script,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "go build" in block]
    environment = {"GO111MODULE": "off", "GOPATH": f"{tmp_path}:{GO_PACKAGES}", "GOFLAGS": ""}
    printed = run(["sh", "-ec", f"cd {shlex.quote(str(folder))}\n{script}"], server, **environment)
    assert json.loads(printed) == {"shape": [1, 28, 28, 1], "data": picture}


@pytest.mark.triton
def test_python_with_nothing_of_ours(server) -> None:
    assert run([sys.executable, str(EXAMPLES / "bare_grpc.py")], server).split("] ") == [
        "[1, 28, 28, 1",
        f"{PICTURE}\n",
    ]


def test_the_printed_protocol_is_the_servers(tmp_path) -> None:
    """Every field of the short definition has the number and type that it has in Triton's."""
    from tritonclient.grpc import service_pb2

    protoc = pytest.importorskip("grpc_tools.protoc", reason="needs grpcio-tools")
    target = tmp_path / "kserve.pb"
    assert protoc.main(["", f"-I{EXAMPLES}", f"--descriptor_set_out={target}", "kserve_v2.proto"]) == 0
    (ours,) = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    theirs = descriptor_pb2.FileDescriptorProto()
    service_pb2.DESCRIPTOR.CopyToProto(theirs)
    assert ours.package == theirs.package
    known = dict(fields(theirs.message_type))
    found = dict(fields(ours.message_type))
    assert found
    assert {name: known.get(name) for name in found} == found


def fields(messages, prefix: str = ""):
    for message in messages:
        name = f"{prefix}{message.name}"
        for field in message.field:
            yield f"{name}.{field.name}", (field.number, field.type, field.label, field.type_name)
        yield from fields(message.nested_type, f"{name}.")
