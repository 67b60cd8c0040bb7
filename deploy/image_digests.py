"""`make image-digests`: asks the registries which digests the images of deploy/ have now, and writes those down.

The files name each image of others' as NAME:TAG@sha256:DIGEST. The tag says what it is to a reader; what is pulled is
the digest, which cannot be moved to another image. Needs a network and Docker with buildx. Where a registry does not
answer, nothing is written, and the status is 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

DEPLOY = Path(__file__).parent
FILES = (DEPLOY / "docker/Dockerfile", DEPLOY / "compose/compose.yaml")
PINNED = re.compile(r"(?P<tagged>[\w./-]+:[\w.-]+)@(?P<digest>sha256:[0-9a-f]{64})\b")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TIMEOUT_S = 120


class RegistryError(Exception):
    """A registry did not say which digest an image has."""


def ask(image: str) -> str:
    """The digest that the registry gives an image now.

    Args:
        image: its name and tag.

    Raises:
        RegistryError: Docker is not here, or the registry does not answer, or not with a digest.
    """
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError:
        raise RegistryError("docker is not here: install it with buildx, which asks the registries") from None
    except subprocess.TimeoutExpired:
        raise RegistryError(f"{image}: no answer of its registry within {TIMEOUT_S} s") from None
    answer = done.stdout.strip()
    if done.returncode or not _DIGEST.fullmatch(answer):
        reason = (done.stderr.strip() or answer or "nothing was said").splitlines()[-1]
        raise RegistryError(f"{image}: its registry gives no digest: {reason}")
    return answer


def renew(files: Sequence[Path] = FILES) -> list[str]:
    """Write the digests of today into the files, into all of them or none.

    Returns:
        What has changed, one line for each image.

    Raises:
        RegistryError: see `ask`.
    """
    texts = {path: path.read_text() for path in files}
    known = {match["tagged"]: match["digest"] for text in texts.values() for match in PINNED.finditer(text)}
    now = {tagged: ask(tagged) for tagged in known}
    for path, text in texts.items():
        path.write_text(PINNED.sub(lambda match: f"{match['tagged']}@{now[match['tagged']]}", text))
    return [f"{tagged}: {known[tagged]} -> {now[tagged]}" for tagged in known if known[tagged] != now[tagged]]


if __name__ == "__main__":
    try:
        changes = renew()
    except RegistryError as error:
        sys.exit(f"image-digests: {error}; no file was changed")
    sys.stdout.write("".join(f"{change}\n" for change in changes) or "all digests are those of today\n")
