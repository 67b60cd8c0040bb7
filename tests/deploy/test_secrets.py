"""What deploy's scripts write of secrets is its owner's alone, whatever the umask."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from deploy_tools import COMPOSE, DEPLOY

SCRIPT = DEPLOY / "compose/secrets.sh"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes secrets, is not here")


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Under the most open umask there is."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, umask=0)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_new_long_and_their_owners_alone(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    assert run(SCRIPT, first).returncode == run(SCRIPT, second).returncode == 0
    assert mode(first) == mode(second) == 0o600
    values = dict(line.split("=") for line in first.read_text().splitlines())
    asked = set(re.findall(r"\$\{(\w+):\?\}", COMPOSE.read_text()))
    assert set(values) == asked
    assert re.fullmatch("[0-9a-f]{64}", values["NEURIPS16_ADMIN_TOKEN"])
    assert re.fullmatch("[0-9a-f]{32}", values["GRAFANA_PASSWORD"])
    assert not set(values.values()) & {line.split("=")[1] for line in second.read_text().splitlines()}


def test_a_file_that_is_there_stays(tmp_path):
    path = tmp_path / ".env"
    path.write_text("mine")
    done = run(SCRIPT, path)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert path.read_text() == "mine"


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / ".env").symlink_to(tmp_path / "elsewhere")
    run(SCRIPT, tmp_path / ".env")
    assert not (tmp_path / "elsewhere").exists()


def test_keys_of_certificates_are_their_owners_alone(tmp_path):
    folder = tmp_path / "tls"
    assert run(DEPLOY / "compose/certificates.sh", folder, "localhost").returncode == 0
    keys = list(folder.glob("*.key"))
    assert len(keys) == 3
    assert {mode(key) for key in keys} == {0o600}
    assert mode(folder) == 0o700


def test_no_text_tells_to_write_secrets_another_way():
    for path in (DEPLOY / "README.md", COMPOSE):
        text = path.read_text()
        assert "secrets.sh" in text
        assert "> .env" not in text
    assert os.access(SCRIPT, os.X_OK)
