"""The server as a whole: how it starts, comes back, refuses and stops."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpc_client
from serving_tools import ONE, X_TO_Y, eventually, infer, put, stubs, times
from tritonclient.utils import InferenceServerException

from neurips16.serving import TritonServer
from neurips16.serving.errors import (
    MissingTritonError,
    ModelFailedError,
    PortTakenError,
    RepositoryError,
    UnfitEnvironmentError,
    WrongNumpyError,
)
from neurips16.serving.triton import installation as binary_module
from neurips16.serving.triton.address import reachable_host
from neurips16.serving.triton.admin_token import GRPC_HEADER
from neurips16.serving.triton.run_folder import PREFIX, Runtime, sweep

pytestmark = pytest.mark.triton

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def repository(tmp_path) -> Path:
    put(tmp_path, "double", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(2))
    return tmp_path


def free_ports(**changes) -> dict:
    return {"grpc_port": 0, "http_port": 0, "metrics_port": None, **changes}


def test_a_model_whose_process_is_killed_under_load_comes_back(server, client, caplog):
    assert server.ready()
    stop, wrong, good_after = threading.Event(), [], threading.Event()
    killed = threading.Event()

    def ask_on() -> None:
        while not stop.is_set():
            try:
                answer = infer(client, "versions", {"x": X})["y"]
            except InferenceServerException:
                time.sleep(0.02)
                continue
            if not np.array_equal(answer, X * 20):
                wrong.append(answer)
            elif killed.is_set() and len(stubs(server.pid, "versions")) == 4:
                good_after.set()

    threads = [threading.Thread(target=ask_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    before = server.restorations
    victims = stubs(server.pid, "versions")
    victims[0].kill()
    assert eventually(lambda: victims[0].status() == psutil.STATUS_ZOMBIE)
    assert not server.ready(), "the server is taken for ready though a model cannot answer"
    killed.set()
    came_back = eventually(server.ready)
    answered = good_after.wait(60)
    stop.set()
    for thread in threads:
        thread.join()
    assert came_back
    assert answered
    assert not wrong
    assert server.restorations == before + 1
    assert not {stub.pid for stub in victims} & {stub.pid for stub in stubs(server.pid, "versions")}
    assert "SIGKILL" in caplog.text


def test_a_model_that_cannot_come_back_is_tried_again_until_it_can(server, client, caplog):
    file = server.repositories[0] / "double" / "1" / "model.onnx"
    hidden = file.with_suffix(".hidden")
    file.rename(hidden)
    try:
        stubs(server.pid, "double")[0].kill()
        assert eventually(lambda: "did not load again" in caplog.text)
        assert not server.ready()
    finally:
        hidden.rename(file)
    assert eventually(server.ready)
    np.testing.assert_array_equal(infer(client, "double", {"x": X})["y"], X * 2)


def test_a_model_unloaded_on_purpose_stays_unloaded(server, client):
    before = server.restorations
    admin = {GRPC_HEADER: server.admin_token}
    client.unload_model("text", headers=admin)
    assert eventually(lambda: not stubs(server.pid, "text"))
    time.sleep(1)
    assert not client.is_model_ready("text")
    assert server.restorations == before
    client.load_model("text", headers=admin)
    assert eventually(server.ready)


def test_models_that_do_not_load_are_all_named_with_their_reasons(needs_triton, repository):
    (repository / "corrupt" / "1").mkdir(parents=True)
    (repository / "corrupt" / "1" / "model.onnx").write_bytes(b"not an ONNX file")
    put(repository, "on_gpu", f"max_batch_size: 8 {X_TO_Y} instance_group {{ kind: KIND_GPU }}", times(2))
    put(repository, "misfit", f"max_batch_size: 8 {X_TO_Y.replace('FP32', 'INT32')} {ONE}", times(2))
    library = 'model_operations { op_library_filename: "libabsent_ops.so" }'
    put(repository, "no_ops", f"max_batch_size: 8 {X_TO_Y} {ONE} {library}", times(2))
    accelerated = 'optimization { execution_accelerators { gpu_execution_accelerator { name: "cuda" } } }'
    put(repository, "accelerated", f"max_batch_size: 8 {X_TO_Y} {ONE} {accelerated}", times(2))
    before = psutil.Process().children(recursive=True)
    with pytest.raises(ModelFailedError) as caught, TritonServer(repository, **free_ports()):
        pass
    text = str(caught.value)
    assert "\n" not in text
    assert "'double'" not in text
    assert "input 'x' is TYPE_INT32, in the file TYPE_FP32" in text
    assert "output 'y' is TYPE_INT32, in the file TYPE_FP32" in text
    assert "libabsent_ops.so" in text
    assert "all instances run on the CPU" in text
    assert "'corrupt'" in text
    if not Path("/dev/nvidiactl").exists():
        assert "'on_gpu'" in text
    assert psutil.Process().children(recursive=True) == before


def test_a_taken_port_is_named(needs_triton, repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"port {port} .*gRPC.*--grpc-port"):
            TritonServer(repository, **free_ports(grpc_port=port)).start()


def test_numpy_2_is_refused(repository, monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.3" if name == "numpy" else real(name))
    with pytest.raises(WrongNumpyError, match=r"NumPy 2\.1\.3 .*pip install 'numpy<2'"):
        TritonServer(repository, **free_ports()).start()


def test_a_missing_package_is_named(repository, monkeypatch):
    def without(missing):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))

    real = importlib.util.find_spec
    without("onnxruntime")
    with pytest.raises(UnfitEnvironmentError, match="onnxruntime is not installed"):
        TritonServer(repository, **free_ports()).start()
    without("pytriton")
    with pytest.raises(MissingTritonError, match=r"nvidia-pytriton .*pip install 'neurips16\[serving\]'"):
        TritonServer(repository, **free_ports()).start()


def test_what_is_no_repository_is_refused(tmp_path):
    with pytest.raises(RepositoryError, match="is no folder"):
        TritonServer(tmp_path / "absent", **free_ports()).start()
    (tmp_path / "notes").mkdir()
    with pytest.raises(RepositoryError, match="holds no model"):
        TritonServer(tmp_path, **free_ports()).start()


def test_stopping_leaves_nothing_behind(needs_triton, repository):
    with TritonServer(repository, **free_ports()) as server:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert len(family) == 2  # the server and one stub
        assert server.shared_memory_regions()
        prefix = server.shared_memory_regions()[0].name[: len(PREFIX) + 12]
    assert not [process for process in family if process.is_running()]
    assert not list(Path("/dev/shm").glob(f"{prefix}*"))
    assert not list(Path("/tmp").glob(f"{prefix}*"))
    server.stop()  # a second time does nothing
    assert not server.ready()


@pytest.mark.parametrize("killed", [["program"], ["server", "program"], ["supervisor", "program"]], ids="+".join)
def test_nothing_outlives_the_program_that_started_it(needs_triton, repository, tmp_path_factory, killed):
    temporary = tmp_path_factory.mktemp("temporary")  # which no other server sweeps
    code = (
        "import sys, time; from neurips16.serving import TritonServer\n"
        f"server = TritonServer({str(repository)!r}, grpc_port=0, http_port=None, metrics_port=None)\n"
        "server.start(); server.wait_ready(); print(server.shared_memory_regions()[0].name, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    with program.stdout:
        name = program.stdout.readline()[: len(PREFIX) + 12]
        assert (temporary / name).is_dir()
        family = psutil.Process(program.pid).children(recursive=True)
        supervisor, server, stub = sorted(family, key=lambda process: len(process.parents()))
        assert [server.name(), stub.name()[:13]] == ["tritonserver", "triton_python"]
        for which in killed:
            {"program": program, "server": server, "supervisor": supervisor}[which].kill()
        program.wait()
    assert not psutil.wait_procs(family, timeout=60)[1]
    if "supervisor" not in killed:  # else nobody was left to clean up, and the next start does
        assert eventually(lambda: not (temporary / name).exists(), 5)
        assert not list(Path("/dev/shm").glob(f"{name}*"))


def test_a_model_whose_process_dies_while_it_loads_is_named(needs_triton, repository, monkeypatch):
    monkeypatch.setattr("neurips16.serving.triton.stub_watcher.LOST_S", 1.0)
    server = TritonServer(repository, **free_ports())
    server.start()
    try:
        assert eventually(lambda: stubs(server.pid, "double"))
        stubs(server.pid, "double")[0].kill()
        # As the server notices by itself when the stub dies early, and as it never does when it dies late.
        reasons = r"model.* did not load: (.*is not healthy|its process .* SIGKILL while it loaded)"
        with pytest.raises(ModelFailedError, match=reasons):
            server.wait_ready(60)
        server.kill()
    finally:
        server.stop()


def test_what_killed_servers_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    left, region = tmp_path / f"{PREFIX}0123456789ab", Path(f"/dev/shm/{PREFIX}0123456789ab-test")
    left.mkdir()
    (left / "lock").touch()
    region.touch()
    runtime = Runtime.create(binary_module.find_triton())
    try:
        sweep()
        assert not left.exists()
        assert not region.exists()
        assert runtime.folder.exists()  # whose lock is held
    finally:
        runtime.remove()
    assert not list(tmp_path.iterdir())


def test_the_backend_finds_the_op_library_by_its_bare_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    library = tmp_path / "elsewhere.so"
    library.touch()
    monkeypatch.setenv("NEURIPS16_OPS_LIBRARY", str(library))
    runtime = Runtime.create(binary_module.find_triton())
    try:
        first = Path(runtime.environment()["LD_LIBRARY_PATH"].split(os.pathsep)[0])
        assert (first / "libneurips16_ops.so").resolve() == library
    finally:
        runtime.remove()


def test_explicit_control_leaves_the_loading_to_admins(needs_triton, repository):
    put(repository, "other", f"max_batch_size: 8 {X_TO_Y} {ONE}", times(3))
    control = {"model_control": "explicit", "models": ["other"]}
    with TritonServer(repository, **free_ports(), **control) as server:
        assert server.models == {"other"}
        with grpc_client.InferenceServerClient(server.url) as client:
            assert not client.is_model_ready("double")
            client.load_model("double", headers={GRPC_HEADER: server.admin_token})
            np.testing.assert_array_equal(infer(client, "double", {"x": X})["y"], X * 2)
    with pytest.raises(ValueError, match="none, explicit, poll"):
        TritonServer(repository, model_control="sometimes")


@pytest.mark.parametrize(
    ("listens", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("example.org", "example.org")],
)
def test_an_unspecified_address_is_reached_by_loopback(listens, reached):
    assert reachable_host(listens) == reached


def test_the_log_keeps_levels_and_last_lines(caplog):
    from neurips16.serving.triton.log import ServerLog

    log = ServerLog()
    with caplog.at_level(logging.DEBUG, "neurips16.serving.triton.log"):
        for line in (
            'I1122 22:26:23.747443 5724 cuda_memory_manager.cc:117] "quiet"',
            'E1122 22:26:23.747443 5724 server.cc:241] "loud"',
            "| a table |",
            "printed by a model",
        ):
            log.feed(line)
    levels = {record.getMessage(): record.levelno for record in caplog.records}
    assert levels == {
        "quiet": logging.DEBUG,
        "loud": logging.ERROR,
        "| a table |": logging.DEBUG,
        "printed by a model": logging.INFO,
    }
    assert log.tail(5, level=logging.ERROR) == ["loud"]
    assert log.tail(1) == ["printed by a model"]
