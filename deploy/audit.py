"""`make audit`: known holes in what requirements/dev.txt installs, and risky calls in our own code.

    python deploy/audit.py [--database FOLDER]

Packages are looked up by pip-audit, in the advisories that PyPI serves. What it could not look up counts as a failure,
where pip-audit itself passes it over: an audit that reached no service is not a clean one. Without a network, give the
records of the OSV database for PyPI (its export, unpacked: one JSON file for each record), and they are searched here.

Code is looked through by bandit, as [tool.bandit] in pyproject.toml says. A finding is mended, or answered where it is
by ``# nosec CODE`` and a reason.

The status is 0 when nothing was found, 1 when something was, 2 when the audit could not be carried out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements/dev.txt"
FOLDERS = ("training", "export", "serving", "clients", "deploy")
FOUND, FAILED = 1, 2


class AuditError(Exception):
    """The audit could not be carried out, so it says nothing."""


def locked(lock: Path = LOCK) -> dict[str, str]:
    """The versions that a file of requirements pins, by name.

    Raises:
        AuditError: it pins none.
    """
    lines = [line.split()[0] for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#")]
    versions = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    if not versions:
        raise AuditError(f"{lock} pins nothing: make it again with `make lock`")
    return versions


def ask_pip_audit(versions: Mapping[str, str], lock: Path = LOCK) -> list[str]:
    """The holes that the service knows of, one line each.

    Raises:
        AuditError: the service was not reached, or did not know of a package.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(lock)]
    done = subprocess.run([*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise AuditError(f"pip-audit gave no answer: {reason}") from None
    audited = {canonicalize_name(package["name"]) for package in packages if "vulns" in package}
    if missed := sorted(set(versions) - audited):
        raise AuditError(
            f"the service told nothing of {len(missed)} of {len(versions)} packages ({', '.join(missed[:5])}, ...): it "
            "was not reached, or has no record of them; with --database FOLDER the audit needs no network"
        )
    return [
        f"{package['name']} {package['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'none'}"
        for package in packages
        for hole in package["vulns"]
    ]


def search(versions: Mapping[str, str], database: Path) -> list[str]:
    """The holes that the records of a folder know of, one line each.

    Raises:
        AuditError: the folder holds no records, or one that cannot be read.
    """
    holes, records = [], 0
    for path in sorted(database.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            records += any(part["package"]["ecosystem"] == "PyPI" for part in record["affected"])
            if "withdrawn" not in record:
                holes += [f"{name} {versions[name]}: {record['id']}" for name in sorted(_hit(record, versions))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AuditError(f"{path} is no record of OSV: {type(error).__name__}: {error}") from error
    if not records:
        raise AuditError(f"{database} holds no records of PyPI's packages: unpack OSV's export into it")
    return holes


def _hit(record: Mapping[str, Any], versions: Mapping[str, str]) -> Iterator[str]:
    """The names of the packages that a record says are affected."""
    for part in record["affected"]:
        name = canonicalize_name(part["package"]["name"])
        if part["package"]["ecosystem"] != "PyPI" or name not in versions:
            continue
        version = Version(versions[name])
        ranges = [each["events"] for each in part.get("ranges", []) if each["type"] == "ECOSYSTEM"]
        if versions[name] in part.get("versions", []) or any(_within(version, events) for events in ranges):
            yield name


def _within(version: Version, events: list[dict[str, str]]) -> bool:
    """Whether a version lies between where a hole came and where it went; events are in order, as OSV has them."""
    inside = False
    for event in events:
        (kind, text), *_ = event.items()
        try:
            reached = text == "0" or version >= Version(text)
            beyond = kind == "last_affected" and version > Version(text)
        except InvalidVersion:
            continue
        if kind == "introduced" and reached:
            inside = True
        elif (kind == "fixed" and reached) or beyond:
            inside = False
    return inside


def look_through_code() -> list[str]:
    """What bandit finds, one line each.

    Raises:
        AuditError: bandit did not look, or not into every file.
    """
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile", "pyproject.toml", "--format", "json"]
    done = subprocess.run([*command, "--recursive", *FOLDERS], capture_output=True, text=True, cwd=ROOT)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise AuditError(f"bandit gave no answer: {done.stderr.strip()[-300:]}") from None
    if report["errors"] or not report["metrics"]["_totals"]["loc"]:
        raise AuditError(f"bandit could not read {report['errors'] or 'anything'}")
    return [
        f"{one['filename']}:{one['line_number']}: {one['test_id']} {one['issue_text']}" for one in report["results"]
    ]


def main() -> int:
    """Both looks, whatever the first finds; the status."""
    parser = argparse.ArgumentParser(description="Look for known holes and risky calls.")
    parser.add_argument("--database", type=Path, metavar="FOLDER", help="OSV's records for PyPI, for want of a network")
    database = parser.parse_args().database
    status = 0
    looks = {
        "packages": lambda: search(locked(), database) if database else ask_pip_audit(locked()),
        "code": look_through_code,
    }
    for name, look in looks.items():
        try:
            found = look()
        except AuditError as error:
            sys.stderr.write(f"audit: {name} NOT AUDITED: {error}\n")
            status = FAILED
            continue
        sys.stdout.write("".join(f"{line}\n" for line in found))
        sys.stdout.write(f"audit: {name}: {len(found)} findings\n")
        status = max(status, FOUND if found else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
