"""What was signed is served, and nothing else."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hostile_folders import lay, model
from serving_tools import eventually
from test_command import FREE, Serving

from neurips16.clients import Client
from neurips16.serving.command import sign
from neurips16.serving.errors import RepositoryError, SecurityError
from neurips16.serving.repository import prepare, prepare_model
from neurips16.serving.signature import (
    SIGNATURE_FILE,
    read_private_key,
    read_public_key,
    sign_repository,
    verify_model,
)

MODELS = Path(__file__).parents[2] / "serving/models"
KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def repository(tmp_path) -> Path:
    for name in ("infogan", "infogan_encoder"):
        shutil.copytree(MODELS / name, tmp_path / "models" / name)
        (tmp_path / "models" / name / "config.pbtxt").unlink()
    assert sign_repository(tmp_path / "models", KEY) == ["infogan", "infogan_encoder"]
    return tmp_path / "models"


def verify(model_dir: Path) -> None:
    verify_model(model_dir, KEY.public_key())


def test_what_was_signed_passes_also_with_what_the_server_writes(repository) -> None:
    verify(repository / "infogan")
    prepare(repository)
    prepare_model(repository / "infogan_encoder", keep_versions=2)
    (repository / "infogan/.highest_version").write_text("3")
    verify(repository / "infogan")
    verify(repository / "infogan_encoder")


def add_version(model: Path) -> None:
    shutil.copytree(model / "1", model / "2")


def flip(model: Path) -> None:
    path = model / "1/model.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def link(model: Path) -> None:
    (model / "1/model.onnx").rename(model.parent / "elsewhere.onnx")
    (model / "1/model.onnx").symlink_to(model.parent / "elsewhere.onnx")


def configure(model: Path) -> None:
    (model / "config.pbtxt").write_text('backend: "python"\n')


def other_model(model: Path) -> None:
    shutil.rmtree(model)
    shutil.copytree(model.parent / "infogan_encoder", model)


def edit_statement(model: Path) -> None:
    envelope = json.loads((model / SIGNATURE_FILE).read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["subject"].pop()
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (model / SIGNATURE_FILE).write_text(json.dumps(envelope))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (flip, r"infogan/1/model\.onnx is not what was signed"),
        (add_version, r"infogan/2/model\.onnx is not signed"),
        (lambda model: (model / "1/parity.json").unlink(), r"infogan/1/parity\.json is not there"),
        (lambda model: (model / "model.py").touch(), r"infogan/model\.py is not signed"),
        (lambda model: (model / "1/.weights").touch(), r"infogan/1/\.weights is not signed"),
        (configure, r"infogan/config\.pbtxt is not signed"),
        (link, "is a link"),
        (other_model, "has the signature of 'infogan_encoder'"),
        (edit_statement, "was not signed with this key, or its signature was changed"),
        (lambda model: (model / SIGNATURE_FILE).unlink(), "is not signed: `neurips16 sign"),
        (lambda model: (model / SIGNATURE_FILE).write_text("[]"), "is no DSSE envelope"),
        (lambda model: (model / SIGNATURE_FILE).write_text('{"payload": 3}'), "is no DSSE envelope"),
        (lambda model: (model / SIGNATURE_FILE).write_bytes(b"\xff"), "is no DSSE envelope"),
    ],
)
def test_what_differs_is_refused(repository, change, says) -> None:
    change(repository / "infogan")
    with pytest.raises(RepositoryError, match=says):
        verify(repository / "infogan")
    verify(repository / "infogan_encoder")


def test_a_configuration_of_a_person_is_signed_and_not_replaced_by_one_that_says_it_is_ours(repository) -> None:
    config = repository / "infogan/config.pbtxt"
    config.write_text('backend: "onnxruntime"\n')
    sign_repository(repository, KEY)
    verify(repository / "infogan")
    config.write_text(config.read_text() + "max_batch_size: 3\n")
    with pytest.raises(RepositoryError, match=r"config\.pbtxt is not what was signed"):
        verify(repository / "infogan")
    config.unlink()
    prepare_model(repository / "infogan")
    with pytest.raises(RepositoryError, match=r"config\.pbtxt is not there"):
        verify(repository / "infogan")


def test_another_key_does_not_do(repository) -> None:
    with pytest.raises(RepositoryError, match="not signed with this key"):
        verify_model(repository / "infogan", Ed25519PrivateKey.generate().public_key())


@pytest.fixture
def public(tmp_path) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(
        KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return path


def test_keys(tmp_path, repository, public, capsys) -> None:
    def private(key, encryption=None) -> Path:
        encryption = encryption or serialization.NoEncryption()
        path = tmp_path / "key.pem"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
        return path

    sign(repository, private(KEY))
    assert capsys.readouterr().out == "signed infogan, infogan_encoder\n"
    verify_model(repository / "infogan", read_public_key(public))
    with pytest.raises(SecurityError, match="no unencrypted private key"):
        read_private_key(private(KEY, serialization.BestAvailableEncryption(b"x")))
    with pytest.raises(SecurityError, match="no Ed25519 key"):
        read_private_key(private(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SecurityError, match="no public key"):
        read_public_key(private(KEY))
    with pytest.raises(SecurityError, match="cannot read the key"):
        read_public_key(tmp_path / "absent.pem")


@pytest.mark.triton
@pytest.mark.slow
def test_a_server_loads_only_what_was_signed_and_as_many_versions_as_it_is_told(needs_triton, tmp_path, public) -> None:
    repository = tmp_path / "models"
    for name in ("good", "changed"):
        for number in ("1", "2", "3"):
            lay(repository / name, model(), number)
    sign_repository(repository, KEY)
    flip(repository / "changed")
    words = ("--verify", str(public), "--versions", "2", "--model-control", "poll")
    serving = Serving(str(repository), *FREE, *words)
    try:
        assert serving.models == "good", serving.lines
        assert any(r"changed/1/model.onnx is not what was signed" in line for line in serving.lines)
        with Client(serving.url) as client:
            assert {found.version for found in client.models() if found.ready} == {"2", "3"}
        lay(tmp_path, model(), "4")
        (tmp_path / "4").rename(repository / "good/4")  # published, and not signed
        while "good/4/model.onnx is not signed" not in (line := serving.process.stderr.readline()):
            assert line
        with Client(serving.url) as client:
            assert {found.version for found in client.models() if found.ready} == {"2", "3"}
        sign_repository(repository, KEY)
        while "loaded what is new of model 'good'" not in (line := serving.process.stderr.readline()):
            assert line
        with Client(serving.url) as client:
            # 2 goes when it has no request left. The other model has just been signed as it is, and comes, too.
            assert eventually(
                lambda: {m.version for m in client.models() if m.ready and m.name == "good"} == {"3", "4"}
            )
    finally:
        assert serving.end(signal.SIGTERM) == 0
        serving.process.stderr.close()


@pytest.mark.triton
@pytest.mark.slow
def test_what_is_changed_before_a_crash_does_not_come_back(needs_triton, repository) -> None:
    from neurips16.serving import TritonServer

    def let_pass(model_dir: Path) -> None:
        verify(model_dir)
        prepare_model(model_dir)

    with TritonServer(repository, grpc_port=0, metrics_port=None, before_load=let_pass) as server:
        assert server.models == {"infogan", "infogan_encoder"}
        flip(repository / "infogan")
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: server.restarts == 1, 30)
        with Client(server.url) as client:
            assert {found.name for found in client.models() if found.ready} == {"infogan_encoder"}
        assert not server.ready()
