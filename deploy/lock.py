"""`make lock`: the exact versions of everything that a set-up installs, and the hashes of their files.

    python deploy/lock.py [--upgrade NAME ...]

pip resolves the extras of pyproject.toml and what builds the wheel. A version in constraints.txt is kept as long as it
fits; to raise one, change its line there, or name it with ``--upgrade``. Written again are

* ``constraints.txt``: the versions, for `pip install -c constraints.txt '.[clients]'` and the like;
* ``requirements/dev.txt``, ``requirements/demo.txt``: the same versions with the SHA-256 of each wheel that fits x86-64
  Linux, whatever its Python, which is what `deploy/setup.sh` installs (``--require-hashes``).

Hashes are those that the package index states over its verified connection. pip holds every download against them.

Packages in ``FILES_ONLY`` are locked without what they require. ``nvidia-pytriton`` asks for NumPy 1 for its own
Python code; of it `neurips16 serve` takes the server's program and libraries, and imports nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pypi_simple import NoSuchProjectError, PyPISimple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
LOCKS = {extra: ROOT / f"requirements/{extra}.txt" for extra in ("dev", "demo")}
HEAD = "# The exact versions that CI proves (Python 3.11, x86-64 Linux). Written by `make lock`"
CONNECTIONS = 8
FILES_ONLY = {"nvidia-pytriton"}


@dataclass(frozen=True)
class Pin:
    """A package as pip resolved it."""

    name: str
    version: str  # without a local part: an index of CPU builds adds one, PyPI does not
    hashes: frozenset[str]  # SHA-256 of the file that pip took


def requirements(extra: str) -> list[Requirement]:
    """What the project, with an extra, and the extras that it names, requires of others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [Requirement(one) for one in project["dependencies"]]
    extras = [extra]
    for name in extras:  # grows meanwhile
        for one in map(Requirement, project["optional-dependencies"][name]):
            if one.name == project["name"]:
                extras += sorted(one.extras - set(extras))
            else:
                found.append(one)
    return found


def resolve(extra: str, constraints: Path) -> list[Pin]:
    """What pip would install for an extra, and to build the wheel, on this machine.

    Raises:
        subprocess.CalledProcessError: pip cannot; it has said why.
    """
    builders = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted = requirements(extra)
    bare = [str(one) for one in wanted if canonicalize_name(one.name) in FILES_ONLY]
    whole = [str(one) for one in wanted if canonicalize_name(one.name) not in FILES_ONLY]
    pins = pip_would_install([*builders, *whole], constraints)
    if bare:
        pins += pip_would_install(["--no-deps", *bare], constraints)
    return sorted(pins, key=lambda pin: canonicalize_name(pin.name))


def pip_would_install(arguments: Sequence[str], constraints: Path) -> list[Pin]:
    """What `pip install` with these arguments would bring to an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), "-c", str(constraints)]
        subprocess.run([*command, *arguments], check=True)
        installed = json.loads(report.read_text())["install"]
    pins = []
    for entry in installed:
        meta, hashes = entry["metadata"], entry["download_info"]["archive_info"].get("hashes") or {}
        version = Version(meta["version"]).public
        pins.append(Pin(meta["name"], version, frozenset([hashes["sha256"]] if "sha256" in hashes else [])))
    return pins


def fits(filename: str, version: str) -> bool:
    """Whether a file of an index is a wheel of this version for CPython 3.10 or later on x86-64 Linux."""
    try:
        _, found, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    if found.public != version:
        return False
    return any(
        (tag.platform == "any" or (tag.platform.endswith("x86_64") and "linux" in tag.platform))
        and (tag.interpreter in ("py3", "py2.py3") or tag.abi == "abi3" or _is_current(tag.interpreter))
        for tag in tags
    )


def _is_current(interpreter: str) -> bool:
    minor = interpreter.removeprefix("cp3").removeprefix("py3")
    return minor.isdecimal() and int(minor) >= 10


def with_all_wheels(pins: Collection[Pin], client: PyPISimple) -> list[Pin]:
    """The pins with the hashes of all wheels that fit, as the index states them.

    Raises:
        LookupError: a package has no hash at all.
    """

    def complete(pin: Pin) -> Pin:
        try:
            files = client.get_project_page(pin.name).packages
        except NoSuchProjectError:
            files = []  # of another index: the file that pip took is known
        stated = {file.digests.get("sha256", "") for file in files if fits(file.filename, pin.version)}
        hashes = pin.hashes | (stated - {""})
        if not hashes:
            raise LookupError(f"no index states a hash of {pin.name} {pin.version}")
        return Pin(pin.name, pin.version, frozenset(hashes))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(complete, pins))


def written(pins: Collection[Pin]) -> str:
    """The text of a requirements file with hashes."""
    entries = (
        " \\\n".join([f"{pin.name}=={pin.version}", *(f"    --hash=sha256:{one}" for one in sorted(pin.hashes))])
        for pin in pins
    )
    return "\n".join([f"{HEAD}, and installed by deploy/setup.sh", *entries, ""])


def main() -> None:
    """Resolve, ask for the hashes, write."""
    parser = argparse.ArgumentParser(description="Write the exact versions and their hashes again.")
    parser.add_argument("--upgrade", nargs="*", default=[], metavar="NAME", help="packages to take the newest of")
    names = {canonicalize_name(name) for name in parser.parse_args().upgrade}
    client = PyPISimple(**({"endpoint": os.environ["PIP_INDEX_URL"]} if os.environ.get("PIP_INDEX_URL") else {}))
    with tempfile.TemporaryDirectory() as folder, client:
        kept = Path(folder) / "constraints.txt"
        lines = CONSTRAINTS.read_text().splitlines()
        kept.write_text("\n".join(line for line in lines if canonicalize_name(line.partition("==")[0]) not in names))
        everything = with_all_wheels(resolve("dev", kept), client)
        versions = "\n".join([HEAD, *(f"{pin.name}=={pin.version}" for pin in everything), ""])
        kept.write_text(versions)
        wanted = {canonicalize_name(pin.name) for pin in resolve("demo", kept)}
    texts = {
        CONSTRAINTS: versions,
        LOCKS["dev"]: written(everything),
        LOCKS["demo"]: written([pin for pin in everything if canonicalize_name(pin.name) in wanted]),
    }
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sys.stdout.write(f"{path.relative_to(ROOT)}: {text.count('==')} packages\n")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError:
        sys.exit("lock: pip cannot resolve what pyproject.toml asks for; nothing was written")
    except LookupError as error:
        sys.exit(f"lock: {error}; nothing was written")
