"""The admin token: who has it may load and unload models, share memory, and change traces and logs.

Over HTTP it is asked for by everything but the health: Triton checks it before it parses a request, and what parses
one there can be ended by who sends it (lists that are nested deep, in a kilobyte; blanks, in gigabytes).
Triton asks for it as a header. It hands out these protocols as a whole, so the list of the models that are *not* loaded
needs the token, too.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from neurips16.serving.errors import SecurityError

HEADER = "neurips16-admin"  # over HTTP
GRPC_HEADER = f"triton-grpc-protocol-{HEADER}"
VARIABLE = "NEURIPS16_ADMIN_TOKEN"
FILE = "admin-token"
PROTOCOLS = ("model-repository", "shared-memory", "trace", "logging")
HTTP_PROTOCOLS = ("metadata", "inference", "model-config", "statistics", *PROTOCOLS)

_FORM = re.compile(r"[A-Za-z0-9._~-]{16,256}")  # what Triton's option and a header both carry as it is
_FORM_TEXT = "16 to 256 of A-Z a-z 0-9 . _ ~ -"


def make_token() -> str:
    """A fresh token."""
    return secrets.token_hex(32)


def check_token(token: str, where: str) -> str:
    """The token, when it can be one.

    Raises:
        SecurityError: it is too short to be safe, or has characters that a header cannot carry.
    """
    if not _FORM.fullmatch(token):
        raise SecurityError(f"the admin token in {where} has {len(token)} characters, expected {_FORM_TEXT}")
    return token


def given_token(path: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token in a file, else in the environment; None when neither is given.

    Raises:
        SecurityError: the file cannot be read or others can read it, or what it holds is no token.
    """
    if path is None:
        return check_token(environment[VARIABLE], VARIABLE) if environment.get(VARIABLE) else None
    try:
        others = path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SecurityError(f"the admin token's file {path} cannot be read: {error.strerror}") from error
    if others:
        raise SecurityError(f"everybody on this machine can read or change the admin token in {path}: chmod 600 it")
    return check_token(text.strip(), str(path))


def save_token(token: str, folder: Path) -> Path:
    """Write the token into a file that only its owner reads."""
    path = folder / FILE
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{token}\n")
    return path


def restrictions(token: str) -> dict[str, str]:
    """The options of `tritonserver` that ask for the token, by the environment variable to hand them over in."""
    return {
        "NEURIPS16_GRPC_RESTRICTION": f"--grpc-restricted-protocol={','.join(PROTOCOLS)}:{HEADER}={token}",
        "NEURIPS16_HTTP_RESTRICTION": f"--http-restricted-api={','.join(HTTP_PROTOCOLS)}:{HEADER}={token}",
    }
