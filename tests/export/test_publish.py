from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from onnx import helper

from neurips16.export import publish as publish_module
from neurips16.export.errors import ParityError, PublishError
from neurips16.export.parity.report import Failure, OutputReport, ParityReport
from neurips16.export.publish import publish, versions
from neurips16.export.spec import ModelSpec, TensorSpec, Tolerance, embed_spec

CLOSE = Tolerance(1e-4, 1e-5, "sums")
SPEC = ModelSpec(
    name="small",
    system="none",
    summary="",
    inputs=(TensorSpec("x", "FP32", ("N", 2), ""),),
    outputs=(TensorSpec("y", "FP32", ("N", 2), "", tolerance=CLOSE),),
    max_batch_size=4,
    paper="none",
)


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph)
    embed_spec(model, SPEC)
    (tmp_path / "out").mkdir()
    onnx.save(model, tmp_path / "out" / "model.onnx")
    return tmp_path / "out" / "model.onnx"


@pytest.fixture
def report(staged: Path) -> ParityReport:
    report = ParityReport.of(SPEC, staged)
    report.runs["onnx"] = {"y": OutputReport(1e-4, 1e-5, "sums", compared=8)}
    assert report.passed
    return report


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "house" / "models"


@pytest.fixture(autouse=True)
def _house(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()


def test_versions_count_up_and_hold_model_and_report(staged, repository, report) -> None:
    assert publish(staged, repository, SPEC, report) == repository / "small" / "1"
    assert publish(staged, repository, SPEC, report) == repository / "small" / "2"
    (repository / "small" / "9").mkdir()
    (repository / "small" / "9" / "model.onnx").touch()
    assert publish(staged, str(repository), SPEC, report) == repository / "small" / "10"
    for number in (1, 2, 10):
        folder = repository / "small" / str(number)
        assert {p.name for p in folder.iterdir()} == {"model.onnx", "parity.json"}
        assert (folder / "model.onnx").read_bytes() == staged.read_bytes()
    assert versions(repository / "small") == [1, 2, 9, 10]
    assert [p.name for p in repository.parent.iterdir()] == ["models"]  # no staging folder is left


def test_what_a_server_ignores_is_no_version(tmp_path) -> None:
    for name in ("1", "3", "007", "x4", ".5"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").touch()
    assert versions(tmp_path) == [1, 3]
    assert versions(tmp_path / "absent") == []


def test_a_model_folder_with_only_a_configuration_is_joined(staged, repository, report) -> None:
    (repository / "small").mkdir(parents=True)
    (repository / "small" / "config.pbtxt").write_text("kept")
    assert publish(staged, repository, SPEC, report).name == "1"
    assert (repository / "small" / "config.pbtxt").read_text() == "kept"


def test_other_users_can_read_it(staged, repository, report) -> None:
    before = os.umask(0o022)
    try:
        folder = publish(staged, repository, SPEC, report)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "model.onnx").stat().st_mode) == 0o644


def test_a_model_that_fails_parity_is_not_published(staged, repository, report) -> None:
    report.failures.append(Failure("onnx", "too far"))
    with pytest.raises(ParityError, match="too far"):
        publish(staged, repository, SPEC, report)
    assert not repository.exists()


def test_a_report_speaks_for_its_own_file_only(staged, repository, report) -> None:
    model = onnx.load(staged)
    model.doc_string = "changed since"
    onnx.save(model, staged)
    with pytest.raises(PublishError, match="not the file that parity was checked on"):
        publish(staged, repository, SPEC, report)
    assert not repository.exists()


def test_a_name_is_not_changed_on_the_way(staged, repository, report) -> None:
    other = ModelSpec(**{**vars(SPEC), "name": "other"})
    with pytest.raises(PublishError, match="says that it is 'small', not 'other'"):
        publish(staged, repository, other, report)


def test_a_repository_that_cannot_be_made(staged, tmp_path, report) -> None:
    with pytest.raises(PublishError, match=r"cannot publish small into .*No such file"):
        publish(staged, tmp_path / "no" / "such" / "parent", SPEC, report)


def test_a_failure_midway_leaves_nothing(staged, repository, report, monkeypatch) -> None:
    def full(self: ParityReport, folder: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ParityReport, "save", full)
    with pytest.raises(PublishError, match="No space left"):
        publish(staged, repository, SPEC, report)
    assert list(repository.iterdir()) == []
    assert [p.name for p in repository.parent.iterdir()] == ["models"]


def test_publishers_at_the_same_time_each_get_a_version(staged, repository, report) -> None:
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:  # a server that scans the repository all the time must never see half a model
        while not done.is_set():
            for model in repository.glob("*"):
                for number in versions(model):
                    files = {p.name for p in (model / str(number)).iterdir()}
                    if files != {"model.onnx", "parity.json"}:
                        seen.append(f"{number}: {files}")
                if not versions(model):
                    seen.append(f"{model} has no version")

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: publish(staged, repository, SPEC, report), range(24)))
    done.set()
    watcher.join()
    assert sorted(int(folder.name) for folder in folders) == list(range(1, 25))
    assert seen == []
    assert [p.name for p in repository.parent.iterdir()] == ["models"]


def test_a_version_that_another_publisher_takes_first_is_not_lost(staged, repository, report, monkeypatch) -> None:
    publish(staged, repository, SPEC, report)
    real, taken = publish_module.versions, []

    def too_late(model_dir: Path) -> list[int]:
        found = real(model_dir)
        if not taken:  # between our looking and our renaming, a publisher on another machine is done
            taken.append(max(found) + 1)
            (model_dir / str(taken[0])).mkdir()
            (model_dir / str(taken[0]) / "model.onnx").write_text("theirs")
        return found

    monkeypatch.setattr(publish_module, "versions", too_late)
    assert publish(staged, repository, SPEC, report).name == "3"
    assert (repository / "small" / "2" / "model.onnx").read_text() == "theirs"


KILLED = """
import os, sys, time
import neurips16.export.publish as p
from pathlib import Path
with p.staging(Path(sys.argv[1])) as staging:
    (staging / "half").write_text("...")
    print(staging, flush=True)
    time.sleep(60)
"""


def test_leftovers_of_the_killed_are_swept_and_those_of_the_living_are_not(staged, repository, report) -> None:
    repository.mkdir()
    running = [
        subprocess.Popen([sys.executable, "-c", KILLED, str(repository)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, living = (Path(process.stdout.readline().strip()) for process in running)
        running[0].send_signal(signal.SIGKILL)
        running[0].wait(10)
        assert (killed / "half").exists()
        assert killed.parent == repository.parent  # beside the repository, where no server looks
        publish(staged, repository, SPEC, report)
        assert not killed.exists()
        assert (living / "half").exists()
    finally:
        for process in running:
            process.kill()
            process.wait(10)
            process.stdout.close()
