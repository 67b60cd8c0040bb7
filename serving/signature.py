"""Signed models: who publishes signs each model's folder, and a server that has the public key refuses what differs.

    <repository>/<model>/signature.json    a DSSE envelope around an in-toto statement, signed with Ed25519:
                                           the SHA-256 of every file, by its path from the repository on

The statement names the model and its versions, so that a signed file is of no use in the place of another. What
`neurips16 serve` itself writes from the model file (see `serving/repository.py`) is not signed: it is written afresh
before a load. A configuration that a person wrote is signed like everything else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from neurips16.serving.errors import RepositoryError, SecurityError
from neurips16.serving.repository import CONFIG_FILE, STATE_FOLDER, is_written_here, model_folders

SIGNATURE_FILE = "signature.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "neurips16/model-folder/v1"
MAX_SIGNATURE_BYTES = 16 << 20
_HIGHEST_VERSION = ".highest_version"  # kept by `neurips16 export`; nothing that a server reads


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs, from an unencrypted PEM file (``openssl genpkey -algorithm ed25519``).

    Raises:
        SecurityError: it cannot be read, or is no such key.
    """
    try:
        key = serialization.load_pem_private_key(_read_key(path), None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise SecurityError(f"{path} is no unencrypted private key in PEM: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SecurityError(f"{path} is no Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The key that checks, from a PEM file (``openssl pkey -in key.pem -pubout``).

    Raises:
        SecurityError: it cannot be read, or is no such key.
    """
    try:
        key = serialization.load_pem_public_key(_read_key(path))
    except ValueError as error:
        raise SecurityError(f"{path} is no public key in PEM: `openssl pkey -in PRIVATE -pubout` writes it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SecurityError(f"{path} is no Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    return key


def sign_repository(repository: Path, key: Ed25519PrivateKey) -> list[str]:
    """Sign every model of a repository as it is.

    Returns:
        The models that were signed.

    Raises:
        RepositoryError: the folder is no repository, or a model has links in it.
    """
    folders = model_folders(repository)
    for folder in folders:
        sign_model(folder, key)
    return [folder.name for folder in folders]


def sign_model(model_dir: Path, key: Ed25519PrivateKey) -> Path:
    """Sign one model as it is, in place of any signature that it has.

    Raises:
        RepositoryError: there are links in its folder, or it cannot be read or written.
    """
    try:
        digests = {name: _sha256(path) for name, path in _files(model_dir).items()}
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"model": model_dir.name},
        }
        payload = json.dumps(statement, sort_keys=True).encode()
        envelope = {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": _key_id(key.public_key()), "sig": _base64(key.sign(_to_sign(payload)))}],
        }
        aside = model_dir / f".{SIGNATURE_FILE}.{secrets.token_hex(4)}"
        aside.write_text(json.dumps(envelope) + "\n", encoding="utf-8")
        os.replace(aside, model_dir / SIGNATURE_FILE)
    except OSError as error:
        raise RepositoryError(f"model {model_dir.name!r} cannot be signed: {error}") from error
    return model_dir / SIGNATURE_FILE


def verify_model(model_dir: Path, key: Ed25519PublicKey) -> None:
    """Hold a model's folder against its signature.

    Raises:
        RepositoryError: it is not signed, or not with this key, or a file differs, lacks or is too much; all such are
            listed.
    """
    what = f"model {model_dir.name!r}"
    try:
        signed = _signed_digests(model_dir, key)
        files = _files(model_dir)
        problems = [f"{name} is not there" for name in sorted(signed.keys() - files.keys())]
        problems += [f"{name} is not signed" for name in sorted(files.keys() - signed.keys())]
        problems += [
            f"{name} is not what was signed" for name in sorted(files.keys() & signed.keys())
            if _sha256(files[name]) != signed[name]
        ]  # fmt: skip
    except OSError as error:
        raise RepositoryError(f"{what} cannot be verified: {error}") from error
    if problems:
        listed = "; ".join([*problems[:5], *([f"and {len(problems) - 5} more"] if len(problems) > 5 else [])])
        raise RepositoryError(f"{what} is not as it was signed: {listed}")


def _signed_digests(model_dir: Path, key: Ed25519PublicKey) -> dict[str, str]:
    """The SHA-256 of each file of the model, as whoever has the private key stated them."""
    path, what = model_dir / SIGNATURE_FILE, f"model {model_dir.name!r}"
    if not path.is_file() or path.is_symlink():
        raise RepositoryError(f"{what} is not signed: `neurips16 sign {model_dir.parent} --key PRIVATE` signs it")
    if path.stat().st_size > MAX_SIGNATURE_BYTES:
        raise RepositoryError(f"{what}: {SIGNATURE_FILE} has {path.stat().st_size} bytes and is no signature")
    try:
        envelope = json.loads(path.read_text(encoding="utf-8"))
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RepositoryError(f"{what}: {SIGNATURE_FILE} is no DSSE envelope; sign it again") from error
    if not any(_is_of(key, signature, payload) for signature in signatures):
        raise RepositoryError(f"{what} was not signed with this key, or its signature was changed")
    statement = json.loads(payload)  # from here on it is the signer's own
    if statement.get("predicateType") != PREDICATE_TYPE:
        raise RepositoryError(f"{what}: the signature is of a {statement.get('predicateType')!r}; sign the model again")
    if statement["predicate"]["model"] != model_dir.name:
        raise RepositoryError(f"{what} has the signature of {statement['predicate']['model']!r}")
    return {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}


def _files(model_dir: Path) -> dict[str, Path]:
    """The files to sign, by their paths from the repository on."""
    config = model_dir / CONFIG_FILE
    ours = not config.is_file() or is_written_here(config)
    found = {}
    for folder, folders, names in os.walk(model_dir):
        for name in (*folders, *names):
            path = Path(folder, name)
            relative = path.relative_to(model_dir)
            if path.is_symlink():
                raise RepositoryError(f"{str(relative)!a} of model {model_dir.name!r} is a link: copy what is there")
            if path.is_dir() or relative.as_posix() in (SIGNATURE_FILE, _HIGHEST_VERSION):
                continue
            if not (ours and _is_derived(relative)):
                found[f"{model_dir.name}/{relative.as_posix()}"] = path
    return found


def _is_derived(relative: Path) -> bool:
    """Whether a file of a model has a place that is written afresh from the model file."""
    if len(relative.parts) == 1:
        return relative.name == CONFIG_FILE or relative.name.endswith("_labels.txt")
    return len(relative.parts) == 2 and relative.parts[0] == STATE_FOLDER


def _is_of(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, _to_sign(payload))
    except InvalidSignature:
        return False
    return True


def _to_sign(payload: bytes) -> bytes:
    """What is signed of a payload: DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _key_id(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(raw).hexdigest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecurityError(f"cannot read the key {path}: {error.strerror}") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
