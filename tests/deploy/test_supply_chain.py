"""What is installed is pinned and hashed, audited without passing anything over, and listed."""

from __future__ import annotations

import importlib.metadata
import json
import re

import pytest
from deploy_tools import DEPLOY, ROOT, load_module
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if hasattr(re, "NOFLAG"):  # Python 3.11
    import tomllib
else:
    import tomli as tomllib

pytest.importorskip("pypi_simple", reason="comes with pip: neurips16[supply]")
lock = load_module(DEPLOY / "lock.py")
audit = load_module(DEPLOY / "audit.py")
sbom = load_module(DEPLOY / "sbom.py")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSIONS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)


def required(extra: str) -> list[Requirement]:
    """What an extra names, and the extras of ours in it; what is for this platform."""
    found = []
    for text in PROJECT["project"]["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == "neurips16":
            found += [inner for name in requirement.extras for inner in required(name)]
        elif requirement.marker is None or requirement.marker.evaluate():
            found.append(requirement)
    return found


class TestLock:
    @pytest.mark.parametrize("extra", ["dev", "demo"])
    def test_every_package_has_its_version_and_hashes(self, extra):
        text = (ROOT / f"requirements/{extra}.txt").read_text()
        entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
        assert len(entries) > 40
        for entry in entries:
            assert re.fullmatch(r"[\w.-]+==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n?", entry), entry[:80]
        locked = audit.locked(ROOT / f"requirements/{extra}.txt")
        stated = {canonicalize_name(name): version for name, version in VERSIONS.items()}
        assert locked.items() <= stated.items(), "run `make lock`"
        if extra == "dev":
            assert locked == stated, "run `make lock`"

    @pytest.mark.parametrize("extra", ["dev", "demo"])
    def test_it_holds_what_the_project_and_its_build_ask_for(self, extra):
        locked = audit.locked(ROOT / f"requirements/{extra}.txt")
        builders = [Requirement(text) for text in PROJECT["build-system"]["requires"]]
        for requirement in [*required(extra), *builders]:
            version = locked.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement.name} is not locked: run `make lock`"
            assert requirement.specifier.contains(version), f"{requirement}, locked is {version}: run `make lock`"

    def test_what_is_locked_without_its_requirements_is_never_imported(self):
        imports = re.compile(r"^\s*(?:import|from) pytriton\b", re.M)
        assert {"nvidia-pytriton"} == lock.FILES_ONLY
        files = [path for room in ("training", "export", "serving", "clients") for path in (ROOT / room).rglob("*.py")]
        assert len(files) > 200
        assert [path for path in files if imports.search(path.read_text())] == []

    def test_numpy_is_held_to_no_old_version_by_what_is_locked(self):
        for name, version in VERSIONS.items():
            if name in lock.FILES_ONLY:
                continue
            for text in importlib.metadata.requires(name) or []:
                requirement = Requirement(text)
                if requirement.name == "numpy" and (not requirement.marker or requirement.marker.evaluate()):
                    assert requirement.specifier.contains(VERSIONS["numpy"]), f"{name} {version} wants {text}"
        assert int(VERSIONS["numpy"].partition(".")[0]) >= 2

    def test_what_builds_is_bounded(self):
        for text in PROJECT["build-system"]["requires"]:
            operators = {specifier.operator for specifier in Requirement(text).specifier}
            assert operators >= {">=", "<"}, text

    def test_setting_up_takes_nothing_without_a_hash_but_what_torch_names(self):
        commands = re.findall(r'^\s*"\$venv/bin/pip" install (.*)$', (DEPLOY / "setup.sh").read_text(), re.M)
        assert len(commands) == 3
        for command in commands:
            flags = ["--require-hashes" in command, "constraints.txt torch" in command, "--no-deps -e ." in command]
            assert sum(flags) == 1, command

    @pytest.mark.parametrize(
        ("filename", "version", "wanted"),
        [
            ("numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "1.26.4", True),
            ("torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", "2.13.0", True),
            ("rich-15.0.0-py3-none-any.whl", "15.0.0", True),
            ("psutil-7.2.2-cp36-abi3-manylinux2014_x86_64.whl", "7.2.2", True),
            ("numpy-1.26.4-cp39-cp39-manylinux2014_x86_64.whl", "1.26.4", False),
            ("numpy-1.26.4-cp311-cp311-win_amd64.whl", "1.26.4", False),
            ("numpy-1.26.4-cp311-cp311-manylinux2014_aarch64.whl", "1.26.4", False),
            ("numpy-1.26.3-cp311-cp311-manylinux2014_x86_64.whl", "1.26.4", False),
            ("numpy-1.26.4.tar.gz", "1.26.4", False),
        ],
    )
    def test_the_wheels_of_this_platform_are_taken(self, filename, version, wanted):
        assert lock.fits(filename, version) is wanted


def record(**changes: object) -> dict:
    affected = {
        "package": {"ecosystem": "PyPI", "name": "Some_Package"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.2"}, {"fixed": "1.4"}]}],
    }
    return {"id": "PYSEC-1", "affected": [{**affected, **changes}]}


class TestAudit:
    @pytest.mark.parametrize(
        ("version", "hit"), [("1.1", False), ("1.2", True), ("1.3.9", True), ("1.4", False), ("2", False)]
    )
    def test_a_range_of_the_database_is_searched(self, tmp_path, version, hit):
        (tmp_path / "a.json").write_text(json.dumps(record()))
        assert audit.search({"some-package": version, "other": "1.3"}, tmp_path) == (
            [f"some-package {version}: PYSEC-1"] if hit else []
        )

    def test_versions_by_name_last_affected_and_withdrawn_records(self, tmp_path):
        named = record(ranges=[], versions=["3"])
        last = record(ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"last_affected": "1"}]}])
        for content, found in ((named, 1), (last, 0), ({**named, "withdrawn": "2026-01-01"}, 0)):
            (tmp_path / "a.json").write_text(json.dumps(content))
            assert len(audit.search({"some-package": "3"}, tmp_path)) == found
        (tmp_path / "a.json").write_text(json.dumps(last))
        assert len(audit.search({"some-package": "1"}, tmp_path)) == 1

    @pytest.mark.parametrize(
        "content", [None, "{}", "[]", '{"affected": [{"package": {"ecosystem": "npm", "name": "a"}}]}']
    )
    def test_a_folder_without_records_is_no_clean_audit(self, tmp_path, content):
        if content is not None:
            (tmp_path / "a.json").write_text(content)
        with pytest.raises(audit.AuditError):
            audit.search({"a": "1"}, tmp_path)

    @pytest.mark.parametrize(
        "answer",
        [
            "",
            '{"dependencies": []}',
            '{"dependencies": [{"name": "a", "skip_reason": "Dependency not found"}, {"name": "b", "vulns": []}]}',
        ],
    )
    def test_a_service_that_was_not_reached_is_no_clean_audit(self, monkeypatch, answer):
        done = audit.subprocess.CompletedProcess([], 0, answer, "")
        monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
        with pytest.raises(audit.AuditError):
            audit.ask_pip_audit({"a": "1", "b": "2"})

    def test_what_the_service_knows_is_told(self, monkeypatch):
        hole = {"id": "PYSEC-2", "fix_versions": ["1.1"]}
        answer = json.dumps({"dependencies": [{"name": "A", "version": "1", "vulns": [hole]}]})
        monkeypatch.setattr(
            audit.subprocess, "run", lambda *_, **__: audit.subprocess.CompletedProcess([], 1, answer, "")
        )
        assert audit.ask_pip_audit({"a": "1"}) == ["A 1: PYSEC-2, fixed in 1.1"]

    @pytest.mark.parametrize(("status", "look"), [(2, "fails"), (1, "finds"), (0, "holds")])
    def test_the_status_says_which(self, monkeypatch, status, look):
        def packages(*_: object) -> list[str]:
            if look == "fails":
                raise audit.AuditError("no service")
            return ["a 1: PYSEC-3"] if look == "finds" else []

        monkeypatch.setattr(audit, "ask_pip_audit", packages)
        monkeypatch.setattr(audit, "look_through_code", list)
        monkeypatch.setattr(audit.sys, "argv", ["audit.py"])
        assert audit.main() == status

    def test_our_code_has_no_finding_that_is_not_answered(self):
        assert audit.look_through_code() == []

    def test_an_answer_gives_its_reason(self):
        answers = [
            (path, line)
            for folder in audit.FOLDERS
            for path in (ROOT / folder).rglob("*.py")
            for line in path.read_text().splitlines()
            if "# nosec" in line and path.name != "audit.py"
        ]
        assert answers
        for path, line in answers:
            assert re.search(r"# nosec B\d{3}: \w", line), f"{path}: {line}"


class TestBill:
    def test_the_image_is_listed_by_digest_commit_and_models(self):
        bom = sbom.image_bill(sbom.DOCKERFILE.read_text(), "0.1.0", ROOT / "serving/models")
        parts = {part.name: part for part in bom.components}
        base = re.search(r"sha256:([0-9a-f]{64})", sbom.DOCKERFILE.read_text())[1]
        assert [one.content for one in parts["tritonserver"].hashes] == [base]
        assert parts["onnxruntime"].purl.version in sbom.DOCKERFILE.read_text()
        assert {path.name for path in (ROOT / "serving/models").iterdir() if path.is_dir()} <= set(parts)

    @pytest.mark.parametrize(
        "text", ["FROM a", "ARG TRITON=nvcr.io/n/t:1\nARG ONNXRUNTIME_VERSION=1\nARG ONNXRUNTIME_COMMIT=a"]
    )
    def test_an_image_without_digest_has_no_bill(self, text):
        with pytest.raises(ValueError, match="the Dockerfile"):
            sbom.image_bill(text, "0.1.0", ROOT / "serving/models")

    @pytest.mark.slow
    def test_the_wheels_lists_every_package_with_its_hashes(self, tmp_path):
        sbom.write_wheel(tmp_path / "wheel.cdx.json")
        components = json.loads((tmp_path / "wheel.cdx.json").read_text())["components"]
        assert {canonicalize_name(component["name"]) for component in components} == set(audit.locked())
        for component in components:
            assert component["externalReferences"][0]["hashes"], component["name"]
